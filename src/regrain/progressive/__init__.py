"""A stream that can be cut anywhere: the sender of a diffusion model's samples and their receiver."""
