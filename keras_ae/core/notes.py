"""The record that the package keeps of a model, hidden from Keras' tracking."""

import threading

from keras_ae.core.programs import Programs
from keras_ae.core.turns import StreamErrors, Turns


class Notes:
    """Everything about a model that is neither a weight nor an argument.

    Args:
        model: The model, which has this object as `_notes`.
        arguments: Dictionary of the constructor's arguments: name -> value, or the default. A value
            of None stays None here, even if `build` makes an object for the attribute.
    """

    def __init__(self, model, arguments):
        self.arguments = arguments
        # The numbers that may be assigned: name -> `_Number` of `keras_ae.core.adjustable`.
        self.numbers = {}
        # The checks of a new value: name -> function, or None if no other value is possible.
        self.rules = {}
        # The objects that were made from their names: name -> type and configuration.
        self.named = {}
        # The numbers of each part when the model was built: part -> numbers.
        self.made_with = {}
        self.fresh_seeds = None  # Draws outside of training take these seeds and not its own.
        self.in_step = threading.local()  # This holds the seed of the step that runs in a thread.
        # Within the model's own methods, data is in its own units.
        self.in_own_units = threading.local()
        self.columns = None  # The names of the columns of the data frame it was built for.
        self.turns = Turns(model)
        self.making = threading.RLock()  # A thread holds it while it makes weights or programs.
        self.programs = Programs(model)
        self.step_programs = Programs(model, training=True)
        self.has_warned_of_scale = False
        # The errors of batches that a stream yields while a loop runs.
        self.stream_errors = StreamErrors()
        # On JAX, this holds one pair: what the latest step returned, and the state after it.
        self.latest = []
