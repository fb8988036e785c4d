"""Sequential: Modules and functions, one after the other."""

from __future__ import annotations

from collections.abc import Callable
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
        for index, layer in enumerate((first, *layers)):
            if not callable(layer) or isinstance(layer, type):
                raise ParameterError(f"Sequential: layer {index} is {layer!r:.60}; give Modules, or functions of one argument.")
        self.layers = (first, *layers)

    def update(self, *args: Any) -> Any:
        """What the last layer returns; the arguments go to the first one."""
        x = self.layers[0](*args)
        for layer in self.layers[1:]:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]
