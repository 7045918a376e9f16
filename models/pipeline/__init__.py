"""One student, three ways to run it: step after step, as a diagonal batch, as a pipeline.

With one cache for each denoising step (timestep-forcing, Live Avatar, arXiv 2512.04677) step k of
a chunk needs only step k - 1 of the same chunk and its own past, so the steps of successive chunks
may run at once.
"""
