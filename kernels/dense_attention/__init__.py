"""Attention to everything: the definition that all others are held against."""
