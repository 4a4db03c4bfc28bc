"""Short blocks of the file that stand for several fields of Kong's."""
