"""The command line `keras-ae`."""
