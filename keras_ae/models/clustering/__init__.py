"""Models that find clusters: a pre-training as an autoencoder, a start of the clusters, and on."""
