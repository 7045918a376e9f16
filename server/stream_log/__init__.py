"""Streams written down as they were asked for, so that they can be made again bit for bit."""
