"""How good the embedded model is, measured from the pixels it makes."""
