"""Models of data given labels or other conditions."""
