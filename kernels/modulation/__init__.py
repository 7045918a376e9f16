"""LayerNorm, scale and shift of a DiT block."""
