"""Journeys through several nouns, with faults on the way."""
