"""The causal student: its shape, blocks, caches, positions, and what steers it."""
