"""Attention timed on this device, and every kernel compiled for GPUs that are not here."""
