"""kgate doctor: what is looked at (look_*.py), what is said of it (checks/), and the list of the checks."""
