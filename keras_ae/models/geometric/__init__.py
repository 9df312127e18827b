"""Codes on a manifold, and posteriors that move along it."""
