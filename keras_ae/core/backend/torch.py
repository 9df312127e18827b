"""torch: one autograd call per player."""

import contextlib
import functools
import math

import keras
import torch
from torch.nn import functional
from torch.optim.adam import adam

from keras_ae.core.backend.gradients import find_held, find_whether_finite

COMPILES_EACH_SHAPE = False
KEEPS_PROGRAMS = False
RUNS_IN_ANY_THREAD = False
SEED_DTYPE = "int32"
MEMORY_ERRORS = (MemoryError, RuntimeError)  # A CPU has no type of its own for it.
COPIES_OF_ARRAYS = 1
MARGIN_OF_A_STEP = 2.25
ERRORS = ()  # They are errors of Python.
NO_NUMBER_ERRORS = ()  # Nothing is a symbol.
STATE_OF_LOOPS = ()


class TrainStep:
    """One step under torch: every player descends its own loss, in one apply."""

    def train_step(self, data):
        return _train(self, data)

    def test_step(self, data):
        return self._losses_and_logs(data, training=False)[1]


def _train(model, data):
    before = [(v, v.value.detach().clone()) for v in model.non_trainable_variables]
    groups = model._variable_groups()
    if model._held and bool(model._holds(model._step.value)):
        held = find_held(model)
        groups = [[v for v in group if id(v) not in held] for group in groups]
    losses, logs = model._losses_and_logs(data, training=True)
    gradients = []
    for player, (loss, group) in enumerate(zip(losses, groups, strict=True)):
        if group:
            gradients += torch.autograd.grad(
                model.optimizer.scale_loss(loss),
                [v.value for v in group],
                retain_graph=player + 1 < len(groups),
                allow_unused=True,
            )
    total = model._loss_tracker.total
    with torch.no_grad():
        if find_whether_finite(model, total.value, losses, gradients):
            with _fused_updates(model.optimizer):
                model.optimizer.apply(gradients, sum(groups, []))
            return logs
        for variable, value in before:
            variable.assign(value)
        total.assign(float("nan"))  # The later steps of the epoch are then left out, too.
        return model.get_metrics_result()


@contextlib.contextmanager
def _fused_updates(optimizer):
    """Let Keras' Adam and AdamW read and write each weight once, in place of ten times.

    Other optimizers, subclasses and the loss scaling of float16 keep Keras' way.
    """
    plain = (
        isinstance(optimizer, keras.optimizers.Adam)
        and hasattr(optimizer, "_parallel_update_step")  # Which Keras gives no subclass.
        and not optimizer.amsgrad
    )
    if plain:
        optimizer._parallel_update_step = functools.partial(_adam_step, optimizer)
    try:
        yield
    finally:
        if plain:
            del optimizer._parallel_update_step


_STEPS_BETWEEN_LOOKS = 128
# By the next look at Keras' decays, 0.9 and 0.999, a larger one has not become subnormal.
_LEAST_MOMENTUM, _LEAST_VELOCITY = 1e-30, 1e-37


def _adam_step(optimizer, gradients, variables, learning_rate):
    weights = [v.value for v in variables]
    # On a GPU the count of steps would have to be waited for; and torch takes memory as it lies.
    if not all(w.device.type == "cpu" and w.is_contiguous() for w in weights):
        type(optimizer)._parallel_update_step(optimizer, gradients, variables, learning_rate)
        return
    places = [optimizer._get_variable_index(v) for v in variables]
    momentums = [optimizer._momentums[place].value for place in places]
    velocities = [optimizer._velocities[place].value for place in places]
    steps = int(optimizer.iterations)
    if steps % _STEPS_BETWEEN_LOOKS == 0:
        # Where gradients stay away, as at pixels that are nearly always black, moments fade into
        # numbers too small for a CPU to be fast with. TensorFlow and JAX have it take those for 0.
        for moments, least in ((momentums, _LEAST_MOMENTUM), (velocities, _LEAST_VELOCITY)):
            for moment in moments:
                moment.masked_fill_(moment.abs() < least, 0.0)
    adam(
        weights,
        [gradient.contiguous() for gradient in gradients],
        momentums,
        velocities,
        [],
        [torch.tensor(float(steps)) for _ in places],
        fused=True,
        amsgrad=False,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        lr=float(learning_rate),
        weight_decay=0.0,
        # Keras adds it to the root of a variance that is not yet freed from its bias.
        eps=optimizer.epsilon / math.sqrt(1 - optimizer.beta_2 ** (steps + 1)),
        maximize=False,
    )


def is_tracing():
    """Tell whether what is computed now becomes part of a program, which it never does."""
    return False


def mix_seed(seed):
    """Mix the two numbers of a seed into one.

    Keras adds them and keeps 32 bits, so that a seed's second draw would be the next one's first.
    Here each number moves by large odd steps, which meet only far from where people count.
    """
    if seed.device.type == "meta":  # Nothing is drawn.
        return seed
    first, second = (int(number) for number in seed)
    number = (first * 0x9E3779B1 + second * 0x85EBCA77) & 0xFFFFFFFF
    # One to one: neighbors get bits that have nothing in common.
    number = (number ^ number >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    number = (number ^ number >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    number ^= number >> 16
    signed = number - 2**32 if number >= 2**31 else number
    return torch.tensor([signed, 0], dtype=seed.dtype, device=seed.device)


def loop(model):
    """Keras' loops leave the state in the variables."""
    return contextlib.nullcontext()


def settle(model):
    """Variables hold the model's state at any time."""


def compile_function(model, function):
    """Make a function of arrays that does not record what gradients need."""

    def call(*arrays):
        with torch.no_grad():
            return function(*(keras.ops.convert_to_tensor(array) for array in arrays))

    return call


def view(tensor):
    """A tensor's numbers as an array to read from, without a copy of them if possible."""
    return tensor.detach().cpu().numpy()


def log_bernoulli(x, logits):
    """log p(x) of every row of binary values, (batch, ...) -> (batch,), in float32."""
    values = x * logits - keras.ops.softplus(logits)
    return keras.ops.sum(values, axis=tuple(range(1, len(values.shape))))


def draw_poisson(mean, seed):
    """Counts with Poisson distributions of these means, in float32."""
    generator = torch.Generator(device=mean.device)
    # Keras' own draws on torch make one number of a seed in the same way.
    generator.manual_seed(int(seed[0] + seed[1]) & 0xFFFFFFFF)
    return torch.poisson(mean, generator)


def servable(model):
    raise NotImplementedError(
        "export writes a TensorFlow SavedModel, which the torch backend cannot trace with a "
        "free batch size. Call model.save('model.keras') here, and then, in a process with "
        "KERAS_BACKEND=tensorflow, keras_ae.load('model.keras').export(...)."
    )


def program(model, method):
    """A method of tensors as one program, inside another one or by itself."""
    return method


def pullback(function, x):
    """function(x), and what takes a tensor of its shape times the Jacobian to one of x's shape."""
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        if not x.requires_grad:
            x = x.detach().requires_grad_()
        values = function(x)

    def pull(vector):
        found = torch.autograd.grad(values, x, vector, create_graph=wanted, retain_graph=True)
        return found[0]

    return values, pull


def steps_at_once(model, batch_shape, callbacks, total=None):
    """Keras' loop costs little here."""
    return contextlib.nullcontext(callbacks)


def building_scope(model):
    return contextlib.nullcontext()


def replica_index():
    """A torch process holds one copy of the model."""
    return None


def argmin(x):
    """The index of the smallest number along the last axis, int32."""
    return torch.argmin(x, dim=-1).to(torch.int32)


def transposes_slowly():
    """It has kernels of its own for transposed convolutions."""
    return False


_CONVOLUTIONS = {
    (2, False): functional.conv2d,
    (2, True): functional.conv_transpose2d,
    (3, False): functional.conv3d,
    (3, True): functional.conv_transpose3d,
}


def convolve(layer, x):
    """Compute a convolution of Keras with its bias, or return None where torch has no call for it.

    Keras crops what a transposed convolution computes beyond its output, and adds the bias after
    that. Here one call of torch leaves the surplus out.
    """
    transposed = hasattr(layer, "output_padding")
    given = zip(x.shape[1:-1], layer.kernel_size, layer.strides, strict=True)
    if layer.padding == "valid":
        around = [min(k - s, 0) if transposed else 0 for _, k, s in given]
    elif transposed:
        around = [k - s for _, k, s in given]
    else:
        around = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in given]
    if (
        layer.data_format != "channels_last"
        or any(number < 0 or number % 2 for number in around)
        or any(rate != 1 for rate in layer.dilation_rate)
        or (transposed and layer.output_padding is not None)
    ):
        return None
    rank = len(around)
    outputs = _CONVOLUTIONS[rank, transposed](
        keras.ops.convert_to_tensor(x).movedim(-1, 1),
        # The gradients of kernels in torch's own order need no copies.
        keras.ops.convert_to_tensor(layer.kernel).permute(-1, -2, *range(rank)).contiguous(),
        keras.ops.convert_to_tensor(layer.bias) if layer.use_bias else None,
        stride=layer.strides,
        padding=[number // 2 for number in around],
        groups=1 if transposed else layer.groups,
    )
    return outputs.movedim(1, -1)


def worker_environment(addresses, index):
    raise NotImplementedError(
        "several workers train one model with TensorFlow or JAX, for Keras divides no batch with "
        "torch. Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax."
    )


def worker_count():
    """A process is always alone."""
    return 1


def join_workers():
    return 0, contextlib.nullcontext


def writes(model):
    """Whether this process writes files for all that train the model."""
    return True
