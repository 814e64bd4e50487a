"""Tests of the noun `spaces`."""
