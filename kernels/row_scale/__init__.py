"""Rows in 8 bits with a scale each, and products of those."""
