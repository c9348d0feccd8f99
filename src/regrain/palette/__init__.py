"""Latents of an autoencoder as a palette of their own, dithered, and their repair."""
