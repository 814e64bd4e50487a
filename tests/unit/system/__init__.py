"""Tests of what the service says about itself."""
