"""Live Avatar's inputs: reference, past motion and speech."""
