"""Several layers of latent variables."""
