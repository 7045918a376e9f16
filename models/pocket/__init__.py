"""Pocket: the model that ships in the repository, a configuration of `CausalStudent`.

192x192 pixels at 25 frames/s, chunks of 4 frames (one latent frame), on two CPU cores.
"""
