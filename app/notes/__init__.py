"""What agents jot down."""
