"""Sparse autoencoders, which learn a dictionary of features."""
