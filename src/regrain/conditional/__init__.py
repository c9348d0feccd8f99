"""The conditional codec: learned latents, a hyperprior, and a diffusion decoder that they condition (CDC)."""
