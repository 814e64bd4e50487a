"""Notes left behind."""
