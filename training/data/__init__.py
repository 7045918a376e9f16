"""Synthetic training data with exact labels: talking heads, moving scenes and speech."""
