"""Tests of the bank, with strings: no store, no model."""
