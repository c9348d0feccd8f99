"""The laboratory of regrain: metrics, evaluation and training. It imports the codec; the codec never imports it."""
