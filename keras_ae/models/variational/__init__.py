"""Models with a posterior and a prior over codes, trained by an evidence lower bound."""
