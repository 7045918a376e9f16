"""Prompts to embeddings: the encoder in a process of its own, and what it made, kept on disk."""
