"""Attention whose scores are products of 8-bit integers."""
