"""Rollcast beside the published code of a student: the same weights, noise and attention."""
