"""Tests of the noun `overview`."""
