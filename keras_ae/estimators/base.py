"""The base class of all estimators: what `fit` does, and how fitted estimators are pickled."""

import math
from typing import Any

import keras
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from keras_ae import models
from keras_ae.autoencoder import Autoencoder
from keras_ae.core import arguments
from keras_ae.core.configuration import constructor_parameters
from keras_ae.core.ranges import loses_digits
from keras_ae.estimators import trainers

_LEAST_EPOCHS = 20
_STEPS_BETWEEN_EVALUATIONS = 50
_ROWS = 64  # Rows of a block, a multiple of the numbers that a processor computes together.
_LEAST_HELD_OUT = 8  # The loss of fewer examples is too noisy to tell when to stop.


class AutoencoderEstimator(BaseEstimator):
    """Base class of scikit-learn estimators that train a model of this package.

    Args:
        model: Name of a model, such as "VAE" or "AE", or a model that is not built. It is never
            changed: `fit` trains another one that is made from its configuration, with new weights.
            Defaults to "VAE".
        model_options: Dictionary of arguments of the model's constructor, if model is a name, such
            as `{"latent_dim": 4, "network_options": {"units": (64,)}}`. If it lacks them, tables
            get a latent_dim of half their number of columns, from 2 to 16, and models with a
            likelihood get "gaussian_learned_scale". Defaults to None, an empty dictionary.
        epochs: Number of passes over the data, a positive integer. Defaults to None: as many as
            make 2,000 training steps, and at least 20.
        batch_size: Number of examples in a batch. Defaults to 32.
        learning_rate: That of the optimizer Adam, a positive number. Defaults to 0.001.
        validation_fraction: Fraction of the examples on which the loss is measured during training,
            a number from 0 to below 1. The fitted model has the weights with which this loss was
            least. Models that minimize several losses with different weights, such as "FactorVAE",
            have no such loss, and 0, or a fraction of fewer than 8 examples, holds none out: then
            the model trains on all examples for all epochs. Defaults to 0.1.
        patience: Number of epochs without a smaller loss after which training ends, a positive
            integer. Defaults to None, a fifth of all epochs.
        standardize: Whether the model scales each feature to mean 0 and deviation 1. This is the
            argument `standardize` of the model itself, so that the mean and the deviation are part
            of the saved or exported model, which takes and returns data in your units. Models with
            limits, such as those with a Bernoulli likelihood, need False. Defaults to True.
        random_state: Integer, `numpy.random.RandomState` or None, as everywhere in scikit-learn. It
            determines the weights, all noise and the order of the data. Defaults to None.
        verbose: 0 for silence, 1 for a progress bar for each epoch, 2 for a line. Defaults to 0.

    Attributes:
        model_: The fitted model. It is not compiled: to train it further, call `compile` first.
        history_: Dictionary of loss -> list of its means over successive parts of the training.
            A part takes at least 50 steps, unless there are fewer in an epoch and the number of
            epochs cannot be divided.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, if `fit` was given a DataFrame whose names are all strings.
    """

    _takes_nan = False
    _steps = 2000  # Training steps, if nobody chose a number of epochs.
    _kind = None  # Name of the class to which models must belong, or None for any model.

    def __init__(
        self,
        model: str | keras.Model = "VAE",
        *,
        model_options: dict[str, Any] | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        standardize: bool = True,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.model = model
        self.model_options = model_options
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.standardize = standardize
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._takes_nan
        tags.input_tags.three_d_array = True
        return tags

    # ------------------------------------------------------------------ for subclasses

    def _check_data(self, X, reset=False, **options):
        """Return X as an array, float32 unless told otherwise, once scikit-learn has checked it.

        Args:
            X: Array or DataFrame of shape (examples, ...).
            reset: Whether the estimator learns the number and the names of the columns. If not, it
                must be fitted, and they are compared. Defaults to False.
            **options: Further arguments of scikit-learn's `validate_data`, such as y.
        """
        if not reset:
            check_is_fitted(self)
        finite = "allow-nan" if self._takes_nan else True
        defaults = {"dtype": np.float32, "allow_nd": True, "ensure_all_finite": finite}
        checked = validate_data(self, X, reset=reset, **{**defaults, **options})
        if reset:
            self._refuse_lost_digits(X)
        return checked

    def _refuse_lost_digits(self, X):
        """Raise if float32 would make the numbers of a column equal that differ in X."""
        X = np.asarray(X)
        if X.ndim != 2 or X.dtype.kind not in "iuf" or X.dtype.itemsize < 8:
            return
        for number, column in enumerate(X.astype("float64").T):
            column = column[~np.isnan(column)]
            deviation = column.std() if len(column) else 0.0
            varies = deviation > 1e-12 * np.abs(column).max(initial=1e-30)
            if varies and loses_digits(column, deviation):
                raise ValueError(
                    f"{type(self).__name__}: column {number} of X has numbers about "
                    f"{column.mean():g} that differ by {deviation:g}, which float32 cannot tell "
                    "apart. Subtract a number near to them, such as the first."
                )

    def _train(self, X, model_defaults=None, fixed=None, **inputs):
        """Make the model, train it, and assign `model_` and `history_`.

        Args:
            X: Array that `_check_data` has checked.
            model_defaults: Dictionary of arguments of the model, if model is a name, that
                model_options may replace. Defaults to None.
            fixed: Dictionary of arguments of the model that the estimator determines. Defaults to
                None.
            **inputs: Arrays of the model's named inputs, with one row for each example.

        Returns:
            Array (examples,) of truth values: which examples were held out.
        """
        generator = check_random_state(self.random_state)
        self._seed = seed = int(generator.randint(2**31 - 1))
        batch_size = arguments.integer(self, "batch_size", self.batch_size)
        rate = arguments.number(self, "learning_rate", self.learning_rate, positive=True)
        standardize = arguments.flag(self, "standardize", self.standardize)
        verbose = arguments.integer(self, "verbose", self.verbose, least=0, most=2)
        shapes = {"x": X.shape, **{name: value.shape for name, value in inputs.items()}}
        shapes = {name: (None, *shape[1:]) for name, shape in shapes.items()}

        def make(compiled=True):
            own = {"seed": seed, "standardize": standardize, **(fixed or {})}
            model = self._make_model(X.shape[1:], own, model_defaults or {})
            if compiled:
                model.compile(keras.optimizers.Adam(rate))
            model.build(shapes if inputs else shapes["x"])
            return model

        model = make(compiled=False)
        given = {"x": X, **inputs}
        unread = {*model.extra_inputs, *model._modalities} - inputs.keys()
        if unread:
            raise ValueError(
                f"{type(self).__name__}: a {type(model).__name__} reads "
                f"{', '.join(sorted(unread))}, and X is one array. Choose another model."
            )
        held_out = self._choose_held_out(model, given, generator)
        others = {name: value[held_out] for name, value in given.items()}
        kept = given  # Data of which nothing is held out is not copied.
        if held_out.any():
            kept = {name: value[~held_out] for name, value in given.items()}
        epochs, at_once, per_pass = self._plan(len(kept["x"]), batch_size)
        options = {"epochs": epochs // at_once, "verbose": verbose, "batch_size": batch_size}
        if at_once > 1:
            options["steps_per_epoch"] = at_once * per_pass
        if held_out.any():
            options["validation_data"] = others if inputs else others["x"]
            options["validation_batch_size"] = max(batch_size, 256)
        patience = self._find_patience(epochs, at_once)

        def fit(model):
            callbacks = []
            if held_out.any():
                callbacks = [
                    keras.callbacks.EarlyStopping(
                        "val_loss", patience=patience, mode="min", restore_best_weights=True
                    )
                ]
            return model.fit(**kept, callbacks=callbacks, **options)

        history = trainers.train(model, make, repr(rate), fit)
        self.model_ = model
        self.history_ = {name: list(map(float, v)) for name, v in history.history.items()}
        return held_out

    def _apply(self, method, X, **options):
        """Call a method of the model such that no example's result depends on the other examples.

        Processors compute the last few rows of a batch by other instructions than its first rows,
        so that rounding differs. Therefore the last rows are filled up to a whole block.

        Args:
            method: A method of `model_` that takes and returns an array with a row for each
                example.
            X: Array that `_check_data` has checked.
            **options: Further arguments of the method.

        Returns:
            Array with a row for each example.
        """
        whole = len(X) // _ROWS * _ROWS
        parts = [X[:whole]] if whole else []
        if whole < len(X):
            rest = X[whole:]
            parts.append(np.concatenate([rest, np.repeat(rest[-1:], _ROWS - len(rest), axis=0)]))
        return np.concatenate([method(part, verbose=0, **options) for part in parts])[: len(X)]

    def _encode(self, X):
        """Return the codes of checked data, one row for each example."""
        return self._apply(self.model_.encode, X).reshape(len(X), -1)

    # ------------------------------------------------------------------ the model

    def _make_model(self, shape, fixed, defaults):
        """Make the model that is trained.

        Args:
            shape: Shape of one example.
            fixed: Arguments that this estimator determines.
            defaults: Arguments that hold unless model_options has them.
        """
        options = arguments.dictionary(
            self, "model_options", self.model_options, "{'latent_dim': 4}"
        )
        cls = self._find_class()
        known = constructor_parameters(cls)
        if "standardize" not in known and fixed.pop("standardize"):
            raise ValueError(
                f"{type(self).__name__}: standardize=True is not possible, because {cls.__name__} "
                "does not scale its data. Pass standardize=False, and scale X before."
            )
        if not isinstance(self.model, str):
            if options:
                raise ValueError(
                    f"{type(self).__name__}: model_options={options!r} has no effect, because "
                    "model is no name. Pass these arguments to the constructor of the model."
                )
            return cls.from_config({**self.model.get_config(), **fixed})
        for name in options.keys() & fixed.keys():
            remedy = {"seed": "Pass random_state instead.", "num_classes": "Leave it out."}.get(
                name, f"Pass {name} to {type(self).__name__} itself."
            )
            raise ValueError(
                f"{type(self).__name__}: model_options={options!r} may not have {name!r}, which "
                f"the estimator determines. {remedy}"
            )
        suited = {"likelihood": "gaussian_learned_scale"}
        if len(shape) == 1:
            suited["latent_dim"] = min(16, max(2, shape[0] // 2))
        suited = {name: v for name, v in {**suited, **defaults}.items() if name in known}
        if not getattr(cls, "_trains_likelihood", True) and "likelihood" in suited:
            suited["likelihood"] = suited["likelihood"].removesuffix("_learned_scale")
        return cls(**{**suited, **options, **fixed})

    def _find_class(self):
        """Return the class of the model that is trained."""
        kind = getattr(models, self._kind) if self._kind else Autoencoder
        wanted = f"the name of a {self._kind or 'model of keras_ae'}, or one that is not built"
        cls, hint = type(self.model), ""
        if isinstance(self.model, str):
            cls = getattr(models, self.model) if self.model in models.FILES else object
            hint = arguments.did_you_mean(self.model, models.FILES).lstrip()
        if not issubclass(cls, kind):
            raise arguments.refusal(self, "model", self.model, wanted, hint)
        if not isinstance(self.model, str) and self.model.built:
            raise ValueError(
                f"{type(self).__name__}: model is a {cls.__name__} that is built, and its weights "
                "would be ignored. Pass one that is not built, or its name."
            )
        return cls

    # ------------------------------------------------------------------ how long it trains

    def _choose_held_out(self, model, given, generator):
        """Return which examples measure the loss: an array of truth values.

        Args:
            model: The model.
            given: Dictionary of x and the named inputs.
            generator: `numpy.random.RandomState`.
        """
        name, number = "validation_fraction", len(given["x"])
        count = int(arguments.number(self, name, self.validation_fraction, below=1) * number)
        mask = np.zeros(number, bool)
        if count >= _LEAST_HELD_OUT and not model.players:
            mask[generator.permutation(number)[:count]] = True
        return mask

    def _plan(self, number, batch_size):
        """Return how many epochs there are, how many go without a pause, and steps in an epoch."""
        per_pass = math.ceil(number / batch_size)
        most = max(1, _STEPS_BETWEEN_EVALUATIONS // per_pass)
        if self.epochs is None:
            epochs = max(_LEAST_EPOCHS, math.ceil(self._steps / per_pass))
            return math.ceil(epochs / most) * most, most, per_pass
        epochs = arguments.integer(self, "epochs", self.epochs)
        at_once = max(n for n in range(1, min(most, epochs) + 1) if epochs % n == 0)
        return epochs, at_once, per_pass

    def _find_patience(self, epochs, at_once):
        """Return after how many evaluations without progress training ends."""
        patience = self.patience
        patience = epochs / 5 if patience is None else arguments.integer(self, "patience", patience)
        return max(1, math.ceil(patience / at_once))
