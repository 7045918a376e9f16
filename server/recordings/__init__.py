"""Streams as films: files that the server writes, and clips of what was just shown."""
