"""RoPE of a whole window of raw keys, in one pass."""
