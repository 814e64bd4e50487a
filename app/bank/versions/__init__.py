"""The bank as it was, and changed by hand: history, difference, undo, repair."""
