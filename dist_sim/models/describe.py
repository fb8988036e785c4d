"""A model that is yet to be made: what `Expon.desc(100, tau=5 * u.ms)` gives."""

from __future__ import annotations

import hashlib
from typing import Any, Generic, TypeVar, final

import brainunit as u
import jax
import numpy as np

from dist_sim.core import State

T = TypeVar("T")


@final
class Descriptor(Generic[T]):
    """A class and the arguments to make it with. Descriptors with equal :attr:`text` describe the same model.

    Args:
        kind: the class.
        args, kwargs: its arguments, or some of them.
    """

    def __init__(self, kind: type[T], *args: Any, **kwargs: Any) -> None:
        self.kind, self.args, self.kwargs = kind, args, kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> T:
        """The model, with more arguments behind those it has, or others by name. Raises what its class raises."""
        return self.kind(*self.args, *args, **{**self.kwargs, **kwargs})

    init = __call__

    @property
    def cls(self) -> type[T]:
        """The class, as brainstate calls it."""
        return self.kind

    @property
    def identifier(self) -> str:
        """The text, as brainstate calls it."""
        return self.text

    @property
    def text(self) -> str:
        """As a reader would write it: `Expon(100, tau=5. ms)`; arrays by their shape and a checksum."""
        given = [_shown(x) for x in self.args] + [f"{name}={_shown(x)}" for name, x in sorted(self.kwargs.items())]
        return f"{self.kind.__name__}({', '.join(given)})"


class Described:
    """What can be described before it is made."""

    @classmethod
    def desc(cls: type[T], *args: Any, **kwargs: Any) -> Descriptor[T]:
        """A description of this model with these arguments, for a projection to make, or to share with an equal one."""
        return Descriptor(cls, *args, **kwargs)


def _shown(x: Any) -> str:
    if isinstance(x, State):
        return f"State {id(x):#x}"
    if isinstance(x, u.Quantity):
        return f"{_shown(x.mantissa)} {x.unit}"
    if isinstance(x, (np.ndarray, jax.Array)) and x.ndim:
        array = np.asarray(x)
        return f"{array.dtype}{list(array.shape)} {hashlib.sha256(array.tobytes()).hexdigest()[:8]}"
    if isinstance(x, (np.generic, jax.Array, float, int)) and not isinstance(x, bool):
        return f"{float(x):g}"
    return repr(x)
