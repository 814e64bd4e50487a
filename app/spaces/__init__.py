"""A project's shared memory."""
