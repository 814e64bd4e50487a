"""Tests of the noun `gc`."""
