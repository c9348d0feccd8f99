"""Noise -> pixels, given a condition: schedules, parametrizations, samplers, the denoiser, portable noise.

Knows noise levels and arrays only; never sees a byte of a file. The networks, `prior` and `unet`, need torch; the rest
takes NumPy arrays, and tensors where there are some.
"""
