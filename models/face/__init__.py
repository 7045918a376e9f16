"""Faces in photographs: where they are, what may be wrong with them, how a model wants them."""
