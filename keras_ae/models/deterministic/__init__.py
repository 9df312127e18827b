"""Models of one code for every example."""
