"""The model: a prompt in, an answer out, and what it cost."""
