"""The norm over channels and the SiLU before a convolution of a VAE."""
