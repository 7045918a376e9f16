"""Norm of queries and keys, RoPE and the cache write in one pass."""
