"""Benchmarks: what a machine can do, measured with the real server and real clients."""
