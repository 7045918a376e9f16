"""Attention and other kernels behind one dispatch; each has a plain reference beside it."""
