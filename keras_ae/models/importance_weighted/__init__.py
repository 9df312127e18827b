"""Bounds from several draws of the posterior."""
