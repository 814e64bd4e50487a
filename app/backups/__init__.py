"""Frozen copies of spaces."""
