"""Attacks on the real server beside a healthy viewer."""
