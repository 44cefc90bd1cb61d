"""What a file of a network holds: its card and its weights."""
