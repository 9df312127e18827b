"""Runs the command line as `python -m keras_ae`, if `keras-ae` is not on the path."""

from keras_ae.cli.main import main

if __name__ == "__main__":
    main()
