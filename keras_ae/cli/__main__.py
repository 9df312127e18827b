"""`python -m keras_ae.cli`, where the command `keras-ae` is not on the path."""

from keras_ae.cli.main import main

main()
