"""Models: the causal student, its caches, sampler and decoders.

Letters in shapes: B batch, F latent frames, C channels, h/w latent rows and columns, N tokens,
H heads, D head dimension, d model width, T pixel frames, L text tokens.
"""
