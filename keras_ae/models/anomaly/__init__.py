"""Models that score how anomalous an example is: each has the method `anomaly_score`."""
