"""How good the embedded model's pictures are: readers of pixels, signals, the evaluation set."""
