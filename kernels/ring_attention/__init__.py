"""Attention to a ring cache: sink and rolling window in one pass."""
