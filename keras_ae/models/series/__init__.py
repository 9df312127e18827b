"""Models of sequences with a latent variable at every step."""
