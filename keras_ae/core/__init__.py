"""How any model runs: private, and free of every paper."""
