"""Notes filed without a model: verbatim, each once, the newest value live. Pure: no I/O."""
