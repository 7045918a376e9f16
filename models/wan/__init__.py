"""What comes with Wan's checkpoints: decoder, weights, adapters, track maps."""
