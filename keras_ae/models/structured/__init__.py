"""Models whose latent variables have priors that depend on each other."""
