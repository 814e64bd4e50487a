"""Answers as models give them, and what must come of each."""
