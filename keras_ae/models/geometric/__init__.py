"""Models whose codes lie on a manifold, or whose posteriors move along one."""
