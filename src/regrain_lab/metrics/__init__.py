"""Metrics: how far a decoded picture is from the original, and from pictures as such."""
