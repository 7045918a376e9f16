"""Pieces that attention kernels are made of, and how large their tiles are."""
