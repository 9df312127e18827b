"""Models of integer codes."""
