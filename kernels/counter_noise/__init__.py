"""Normal noise by counter: the same bits from a GPU, from several, and from a CPU."""
