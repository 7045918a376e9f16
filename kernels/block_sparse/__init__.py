"""Block-sparse attention: which blocks, and attention to them alone."""
