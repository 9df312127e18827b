"""Runs the command line as `python -m keras_ae.cli`, if `keras-ae` is not on the path."""

from keras_ae.cli.main import main

main()
