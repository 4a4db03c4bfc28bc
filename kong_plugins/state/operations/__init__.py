"""What operators do with the control state: each operation is one atomic step with its audit event.

All take the store first, and actor, reason and ttl (seconds; None: the collection's default) by name. They
raise ValueError for bad input, `Refused`, `NotFound` (common.py), and StoreError, of which Conflict carries the
record that somebody else set.
"""
