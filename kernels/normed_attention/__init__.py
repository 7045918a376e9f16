"""Attention to a few fixed keys, of queries that are normed where they are loaded."""
