"""Notes filed by a model that is not believed: what it sees, and what of its answer is carried out. Pure: no I/O."""
