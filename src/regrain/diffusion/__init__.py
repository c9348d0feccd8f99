"""Noise -> pixels, given a condition: schedules, parametrizations, samplers, the denoiser, portable noise.

Knows noise levels and tensors only; never sees a byte of a file. `noise` needs NumPy alone, the rest torch.
"""
