"""Who generates next, and whoever makes the chunks."""
