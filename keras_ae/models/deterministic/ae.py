"""The autoencoder: Hinton and Salakhutdinov 2006, doi:10.1126/science.1127647."""

import math

import keras
import numpy as np
from keras import ops

from keras_ae import losses
from keras_ae.models.deterministic.base import DeterministicAE


class AE(DeterministicAE):
    """A code of latent_dim numbers from which the data is reconstructed.

    Minimises the reconstruction loss, summed over an example's elements and averaged over the
    batch. While it trains it keeps the mean and covariance of its codes, from which `sample` draws:
    the ex-post density estimate of arXiv:1903.12436, section 5, with one Gaussian.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        encoder, decoder, network_options, seed: See `keras_ae.Autoencoder`. A decoder of your own
            returns the reconstruction itself: one for a cross-entropy ends in a sigmoid or softmax,
            unless the loss is given `from_logits=True`. With a `mask_value` among the options, or
            an encoder of your own that begins with a `keras.layers.Masking`, steps of sequences
            whose features all equal that number are padding: they change neither the code nor the
            loss, and what is decoded at their places means nothing.
        reconstruction_loss: Name of a Keras loss, a `keras.losses.Loss`, or a function of
            (y_true, y_pred). A default decoder ends in the activation that it expects: a sigmoid
            for the binary cross-entropy, a softmax for the categorical one. Defaults to
            "mean_squared_error".

    Example:

    >>> import numpy as np
    >>> from keras_ae import AE
    >>> model = AE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.sample(3, seed=0).shape
    ((64, 2), (3, 8))
    """

    # Where training makes other codes than `encode`, the density follows those of one example in so
    # many: to encode all of them once more would take long.
    FOLLOWED = 8
    codes_are_of_the_data = True  # And not of a corrupted copy, or of a part.

    def build_networks(self, shape, target_shape):
        super().build_networks(shape, target_shape)
        self.code_density = CodeDensity(self.code_shape, name="code_density")

    def reconstruction_terms(self, y, z, training, x=None):
        """The reconstruction loss, by its name; while training the density follows the codes.

        Args:
            y: Targets, shape (batch, ...).
            z: Codes of the batch.
            training: Whether weights are being updated.
            x: Inputs, shape (batch, ...), where z may not be what `encode` gives of them. Defaults
                to None: z is.
        """
        if training:
            self.follow_codes(z, x)
        return super().reconstruction_terms(y, z, training)

    def follow_codes(self, z, x=None):
        """Let the density follow a batch, of the same z and x."""
        if x is not None and not (self.codes_are_of_the_data and self._encodes_alike()):
            z = self.code(x[:: self.FOLLOWED])
        self.code_density.update(z)

    def _encodes_alike(self):
        """Whether the encoder does in training what it does in `encode`."""
        return not any(_changes_in_training(p) for p in (self.encoder, self.features_to_code))

    def loss_terms(self, x, y, training):
        return self.reconstruction_terms(y, self.code(x, training), training, x)

    def loss_of_parts(self, y, output):
        """The reconstruction loss of every part of an example, such as a patch or a time step.

        Args:
            y, output: Targets and reconstructions, of shape (batch, parts, values).

        Returns:
            Tensor of shape (batch, parts), float32.
        """
        flat = [ops.reshape(value, (-1, value.shape[-1])) for value in (y, output)]
        return ops.reshape(losses.per_example(self.reconstruction_loss, *flat), (-1, y.shape[1]))

    def sample_codes(self, num_samples, seed):
        return self.code_density.sample(num_samples, seed)

    def sample(self, num_samples, seed=None, *, batch_size=None, verbose="auto"):
        """New data: codes from the Gaussian of the training codes, decoded.

        Args and Returns: As of `keras_ae.Autoencoder.sample`.

        Raises:
            RuntimeError: If the model was never trained, and so knows of no codes.
        """
        if not self.built or not self.code_density.has_seen_codes():
            raise RuntimeError(
                f"{type(self).__name__}.sample draws from the codes seen in training, and this "
                "model has not been trained. Call fit(x) first."
            )
        return super().sample(num_samples, seed, batch_size=batch_size, verbose=verbose)

    def prepare_sampling(self):
        self.code_density.factorise()


class CodeDensity(keras.layers.Layer):
    """The mean and covariance of the codes, followed while the encoder moves.

    The first hundred batches are averaged; from then on old codes fade by one percent a batch. A
    batch smaller than the largest weighs as much less. Of codes of more than 2,048 numbers the
    variances alone are kept, for the covariances would be more than all other weights.

    Args:
        shape: Shape of a code, or the number of its dimensions.
    """

    FADING = 0.01
    MOST = 2048

    def __init__(self, shape, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.code_shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = math.prod(self.code_shape)
        self.whole = size <= self.MOST
        spread = {
            "shape": (size, size) if self.whole else (size,),
            "initializer": "identity" if self.whole else "ones",
        }
        options = {"trainable": False, "aggregation": "mean"}
        self.mean = self.add_weight(shape=(size,), initializer="zeros", name="mean", **options)
        self.covariance = self.add_weight(name="covariance", **spread, **options)
        self.factor = self.add_weight(name="factor", **spread, **options)
        # Counted in batches of the largest size.
        self.num_updates, self.batch_size = (
            self.add_weight(shape=(), initializer="zeros", name=name, **options)
            for name in ("num_updates", "batch_size")
        )
        self.built = True

    def load_own_variables(self, store):
        values = {key: store[key] for key in store.keys()}
        values.setdefault("4", np.zeros(()))  # Files of old do not hold the batch size.
        super().load_own_variables(values)

    def has_seen_codes(self):
        """Whether any batch was taken into account."""
        return _value(self.num_updates) > 0

    def update(self, z):
        """Take the codes of a batch into account, shape (batch, ...)."""
        z = ops.reshape(ops.stop_gradient(z), (-1, self.mean.shape[0]))
        # The last batch of an epoch may leave a replica without a single example.
        size = ops.cast(ops.shape(z)[0], "float32")
        known = ops.maximum(size, 1.0)
        largest = ops.maximum(self.batch_size, known)
        # A file of old says nothing of its batches: they count as if they were of this size.
        before = self.num_updates * ops.where(self.batch_size > 0.0, self.batch_size / largest, 1.0)
        share = size / largest
        rate = ops.maximum(self.FADING * share, share / ops.maximum(before + share, 1e-9))
        batch_mean = ops.sum(z, axis=0) / known
        centred = z - batch_mean
        if self.whole:
            batch_covariance = ops.matmul(ops.transpose(centred), centred) / known
        else:
            batch_covariance = ops.sum(ops.square(centred), axis=0) / known
        shift = batch_mean - self.mean
        # The covariance of the mixture of what was known and what came.
        product = ops.outer(shift, shift) if self.whole else ops.square(shift)
        between = rate * (1.0 - rate) * product
        self.covariance.assign((1.0 - rate) * self.covariance + rate * batch_covariance + between)
        self.mean.assign(self.mean + rate * shift)
        self.num_updates.assign(before + share)
        self.batch_size.assign(largest)

    def factorise(self):
        """Bring the factor up to date with the covariance, which is its product with its transpose.

        By itself, for a program exported from JAX cannot call the library that factorises.
        """
        covariance = _value(self.covariance).astype("float64")
        if not self.whole:
            self.factor.assign(np.sqrt(covariance))
            return
        # A code that collapsed onto a plane has no factor of Cholesky without a little width.
        width = 1e-6 * np.trace(covariance) / len(covariance) + 1e-12
        try:
            factor = np.linalg.cholesky(covariance + width * np.eye(len(covariance)))
        except np.linalg.LinAlgError:
            # Rounding in float32 left it negative in some direction by more than that.
            values, vectors = np.linalg.eigh(covariance)
            factor = vectors * np.sqrt(np.maximum(values, 0.0))
        self.factor.assign(factor)

    def sample(self, num_samples, seed):
        """Codes, shape (num_samples, ...)."""
        shape = (num_samples, self.mean.shape[0])
        noise = keras.random.normal(shape, dtype="float32", seed=seed)
        if self.whole:
            noise = ops.matmul(noise, ops.transpose(self.factor))
        else:
            noise = noise * self.factor
        return ops.reshape(self.mean + noise, (-1, *self.code_shape))


def _changes_in_training(layer):
    """Whether a layer may do something else in training than in inference."""
    if not type(layer).__module__.startswith(("keras.", "keras_ae.")):
        return True  # Somebody's own.
    if isinstance(layer, (keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN)):
        return bool(layer.dropout or layer.recurrent_dropout)
    if getattr(layer, "layers", ()):
        return any(map(_changes_in_training, layer.layers))
    # A layer that draws has the state of a seed, and one that keeps statistics weights for them.
    return bool(layer.non_trainable_variables)


def _value(variable):
    """The value of a weight as an array, of a mirrored one too."""
    return ops.convert_to_numpy(ops.convert_to_tensor(variable))
