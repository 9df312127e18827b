"""Models whose encoder returns one code for every example."""
