"""Names of types that the hints of public functions share."""

import os
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, overload

import keras
import numpy as np
from numpy.typing import ArrayLike

Array: TypeAlias = ArrayLike  # Anything of which NumPy makes an array, such as a list of numbers.
Tensor: TypeAlias = Any  # A tensor of any backend, because Keras has no type for all of them.
ArrayOrTensor: TypeAlias = np.ndarray | Any  # An array, or a tensor if the method got a tensor.
Matrix: TypeAlias = Any  # An array, or a matrix of `scipy.sparse`.
Data: TypeAlias = Any  # An array, a tensor, a dictionary of them, or a stream of batches.
Seed: TypeAlias = int | keras.random.SeedGenerator  # What functions of tensors take as a seed.
Path: TypeAlias = str | os.PathLike[str]  # The path of a file or folder.
Verbose: TypeAlias = int | str  # How much is printed: 0, 1 or "auto", and in `fit` also 2.
Network: TypeAlias = str | keras.Model  # The name of a kind of network, or a network.
Weight: TypeAlias = (
    float | keras.optimizers.schedules.LearningRateSchedule
)  # It may change by step.
Loss: TypeAlias = str | keras.losses.Loss | Callable[..., Any]  # A Keras loss, or its name.
Optimizer: TypeAlias = str | keras.optimizers.Optimizer  # A Keras optimizer, or its name.
DType: TypeAlias = str | keras.DTypePolicy  # The dtype of layers, or a policy of Keras.

Function = TypeVar("Function", bound=Callable[..., Any])  # What a decorator gets and returns.
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result", covariant=True)


class BatchedCall(Protocol[Parameters, Result]):
    """A call of a method that `batched` decorates.

    Python has no type for the parameters of a method and two more by keyword. Therefore only calls
    without these two are checked completely.
    """

    @overload
    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result: ...
    @overload
    def __call__(
        self, *args: Any, batch_size: int | None, verbose: Verbose = ..., **kwargs: Any
    ) -> Result: ...
    @overload
    def __call__(self, *args: Any, verbose: Verbose, **kwargs: Any) -> Result: ...


class BatchedMethod(Protocol[Parameters, Result]):
    """A method that `batched` decorates, as an attribute of its class."""

    def __get__(self, model: Any, cls: Any = None) -> BatchedCall[Parameters, Result]: ...
