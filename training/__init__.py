"""How the pocket model is made: data, autoencoder, viseme network, student, export."""
