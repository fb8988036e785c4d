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

    def append(self, layer: Callable[[Any], Any]) -> None:
        """Puts a layer behind the last one. Errors: as of the class."""
        self.layers = _checked((*self.layers, layer))

    def extend(self, modules: Iterable[Callable[[Any], Any]]) -> None:
        """Puts layers behind the last one. Errors: as of the class."""
        self.layers = _checked((*self.layers, *modules))

    def insert(self, index: int, module: Callable[[Any], Any]) -> None:
        """Puts a layer in front of the one at `index`, as a list does: -1 is in front of the last one.

        Raises:
            IndexError: there is no such place. See also the class.
        """
        place = index if index >= 0 else len(self.layers) + index
        if not 0 <= place <= len(self.layers):
            raise IndexError(f"Sequential.insert({index}, ...): there are {len(self.layers)} layers.")
        self.layers = _checked((*self.layers[:place], module, *self.layers[place:]))

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]


def _checked(layers: tuple[Callable[..., Any], ...]) -> tuple[Callable[..., Any], ...]:
    for index, layer in enumerate(layers):
        if not callable(layer) or isinstance(layer, type):
            raise ParameterError(f"Sequential: layer {index} is {layer!r:.60}; give Modules, or functions of one argument.")
    return layers
