"""What a part of a DiT block adds to the stream, and the norm of the next part, in one pass."""
