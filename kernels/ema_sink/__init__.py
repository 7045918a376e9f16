"""Reward Forcing's EMA-Sink: evict, blend, write."""
