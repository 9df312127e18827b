"""Models with several layers of latent variables."""
