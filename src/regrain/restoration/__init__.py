"""Any picture, worn by compression or noise -> the same picture repaired by the unconditional prior.

noise_level   how far the picture is from what it was: by its JPEG's steps, or by its noise and its blocks
jpeg          what a JPEG says of every 8 x 8 block: the coefficients that it was, within half a step
denoise       the picture as x_t at that level -> x_0, tile by tile
"""
