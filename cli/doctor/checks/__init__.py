"""One check a file: `check(world)` yields what it has to say, at least one result."""
