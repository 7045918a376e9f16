"""How far this engine is from published implementations, by their golden cases."""
