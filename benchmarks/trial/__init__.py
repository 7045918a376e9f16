"""A model tried out once: streamed by the real server, looked at, and reported on."""
