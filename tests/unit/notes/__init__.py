"""Tests of the noun `notes`."""
