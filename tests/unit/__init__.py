"""Tests of one module each, on fakes."""
