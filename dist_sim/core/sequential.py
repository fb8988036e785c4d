"""Sequential: Modules and functions, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

from dist_sim.core.module import Module
from dist_sim.errors import ParameterError


@final
class Sequential(Module):
    """Calls its layers one after the other, each with what the one before returned: `nn.Sequential(linear, jax.nn.relu)`.

    `net[1]` is a layer, `net[1:]` a Sequential of the same layers, not of copies.

    Args:
        first, layers: Modules, or functions of one argument.

    Raises:
        ParameterError: something that cannot be called.
    """

    def __init__(self, first: Callable[..., Any], *layers: Callable[[Any], Any]) -> None:
        super().__init__()
        self.layers = _checked((first, *layers))

    def update(self, *args: Any) -> Any:
        """What the last layer returns; the arguments go to the first one."""
        x = self.layers[0](*args)
        for layer in self.layers[1:]:
            x = layer(x)
        return x

    def append(self, layer: Callable[[Any], Any]) -> Sequential:
        """Puts a layer at the end, in place. Returns this. Errors: as the class."""
        return self.insert(len(self.layers), layer)

    def insert(self, index: int, layer: Callable[[Any], Any]) -> Sequential:
        """Puts a layer in front of the layer `index`, in place, as a list does. Returns this. Errors: as the class."""
        layers = list(self.layers)
        layers.insert(index, layer)
        self.layers = _checked(tuple(layers))
        return self

    def extend(self, layers: Iterable[Callable[[Any], Any]]) -> Sequential:
        """Puts layers at the end, in place. Returns this. Errors: as the class."""
        self.layers = _checked((*self.layers, *layers))
        return self

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]


def _checked(layers: tuple[Callable[..., Any], ...]) -> tuple[Callable[..., Any], ...]:
    for index, layer in enumerate(layers):
        if not callable(layer) or isinstance(layer, type):
            raise ParameterError(f"Sequential: layer {index} is {layer!r:.60}; give Modules, or functions of one argument.")
    return layers
