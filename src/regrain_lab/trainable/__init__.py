"""The conditional codec as it is trained: an entropy model with gradients, and the form in which it ships."""
