"""What a file of the bank is made of, and where the rules want things to be. Pure: no I/O."""
