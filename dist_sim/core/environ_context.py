"""EnvironContext: a Module that runs in an environment of its own."""

from __future__ import annotations

from typing import Any, final

from dist_sim.core import environ
from dist_sim.core.module import Module
from dist_sim.errors import ParameterError


@final
class EnvironContext(Module):
    """Calls a Module with entries of the environment set: `nn.EnvironContext(layer, dt=0.1 * u.ms)`.

    Args:
        layer: the Module, or a function.
        context: the entries, as for :func:`dist_sim.environ.context`.

    Raises:
        ParameterError: something that cannot be called; and as :func:`dist_sim.environ.context`, when called.
    """

    def __init__(self, layer: Any, **context: Any) -> None:
        super().__init__()
        if not callable(layer):
            raise ParameterError(f"EnvironContext({layer!r:.60}): needs a Module, or a function.")
        self.layer, self.context = layer, context

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """What the Module returns."""
        with environ.context(**self.context):
            return self.layer(*args, **kwargs)

    def add_context(self, **context: Any) -> None:
        """Sets more entries, or others."""
        self.context = {**self.context, **context}
