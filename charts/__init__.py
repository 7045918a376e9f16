"""Plots of figures that were measured, for the benchmarks and for training."""
