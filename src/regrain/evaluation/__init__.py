"""Evaluation: distortion and perceptual metrics, real encoders as baselines, the comparison sheet."""
