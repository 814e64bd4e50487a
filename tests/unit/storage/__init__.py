"""Tests of the stores' own rules."""
