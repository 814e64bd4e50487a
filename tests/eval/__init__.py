"""What consolidation makes of projects whose truth is known, measured."""
