"""Models of several kinds of data, such as pictures with labels."""
