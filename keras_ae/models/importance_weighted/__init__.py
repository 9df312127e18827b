"""Models that minimize bounds of several draws from the posterior."""
