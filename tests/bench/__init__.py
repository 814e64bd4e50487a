"""Speed, for people to read: nothing here is asserted."""
