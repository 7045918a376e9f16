"""The wire: messages, packets, errors, limits, and their schema; free of I/O."""
