"""What the package keeps about a model while it is made and used, hidden from Keras' tracking."""

import threading

from keras_ae.core.programs import Programs
from keras_ae.core.turns import Turns


class Notes:
    """Everything about a model that is neither a weight nor an argument.

    Args:
        model: The model, which holds this as `_notes`.
        arguments: Name of an argument -> what the constructor was given, or the default. None stays
            None here, even if `build` fills the attribute.
    """

    def __init__(self, model, arguments):
        self.arguments = arguments
        self.numbers = {}  # name -> a number that may be assigned, and its variable.
        self.rules = {}  # name -> check of a new value, or None: refused.
        self.named = {}  # name -> type and configuration of the object made from a name.
        self.fresh_seeds = None  # For draws outside of training, which must not move its seeds.
        self.in_step = threading.local()  # The seed of the step that runs in a thread.
        self.turns = Turns(model)
        self.making = threading.RLock()  # Held while weights or programs are made.
        self.programs = Programs(model)
        self.step_programs = Programs(model, training=True)
        self.latest = []  # On JAX, one pair: what the latest step returned, and the state after it.
