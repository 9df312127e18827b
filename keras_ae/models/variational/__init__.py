"""Models of a posterior and a prior over codes: evidence lower bounds."""
