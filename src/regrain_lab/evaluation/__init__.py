"""Evaluation: real encoders as baselines, the sweep and its table, curves, report, comparison sheet."""
