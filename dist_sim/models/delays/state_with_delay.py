from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax

from dist_sim.core import Module, State
from dist_sim.core.lifecycle import call_order
from dist_sim.errors import ParameterError
from dist_sim.models.delays.delay import Delay


@final
class StateWithDelay(Delay):
    """The history of a State of a Module, which writes it after each of its steps: what `prefetch_delay` makes.

    Args:
        target: the Module.
        item: the name of its State.
        init, interpolation: see :class:`Delay`; by default "nearest".

    Raises: as :class:`Delay`; ParameterError: there is no such State when the States are made.
    """

    def __init__(self, target: Module, item: str, init: Any = None, interpolation: str | None = None) -> None:
        super().__init__(None, init=init, interpolation=interpolation or "nearest")
        self.target, self.item = target, item

    @property
    def state(self) -> State:
        found = getattr(self.target, self.item, None)
        if not isinstance(found, State):
            raise ParameterError(
                f"prefetch_delay({self.item!r}): {type(self.target).__name__} has no State of that name. Its States: "
                f"{', '.join(str(path[0]) for path in self.target.states(allowed_hierarchy=(0, 0)))}."
            )
        return found

    @call_order(3)
    def init_state(self, batch_size: int | None = None) -> None:
        value = self.state.value
        shape = value.shape if batch_size is None else value.shape[1:]
        self.target_info = u.Quantity(jax.ShapeDtypeStruct(shape, value.dtype), unit=u.get_unit(value))
        super().init_state(batch_size)

    def update(self, *args: Any) -> None:
        """Adds the present value of the State."""
        super().update(self.state.value)
