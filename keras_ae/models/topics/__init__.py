"""Models of the topics of documents."""
