"""Kong 3.9.3's own checks of entities, in its words: what `kgate validate` finds offline, and the sandbox answers."""
