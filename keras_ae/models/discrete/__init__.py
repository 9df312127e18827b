"""Models whose codes are integers."""
