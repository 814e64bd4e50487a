"""Tests of what every implementation of a protocol, and every operation, promises."""
