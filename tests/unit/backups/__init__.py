"""Tests of the noun `backups`."""
