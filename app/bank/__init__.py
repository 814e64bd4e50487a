"""What the notes amount to."""
