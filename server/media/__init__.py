"""Frames to packets, and pictures that clients bring."""
