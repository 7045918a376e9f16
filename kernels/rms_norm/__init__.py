"""Root-mean-square norm over the width of a token."""
