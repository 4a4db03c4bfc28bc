"""The engine: facts in, verdict out. Its types import nothing else of kgate."""
