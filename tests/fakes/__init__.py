"""Implementations that tests choose."""
