"""The losses: one module for each network that recipes train, and the two perceptual networks that only losses use."""
