"""Models that are trained against a discriminator."""
