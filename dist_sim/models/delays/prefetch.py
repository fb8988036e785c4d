"""What a population holds, or returned, now or some time ago: handed to projections before it exists."""

from __future__ import annotations

from typing import Any, final

import jax

from dist_sim.core import Module, State
from dist_sim.errors import ParameterError
from dist_sim.models.delays.delay import Delay
from dist_sim.models.delays.state_with_delay import StateWithDelay


@final
class Prefetch(Module):
    """An attribute of a Module, to be called for its value."""

    def __init__(self, module: Any, item: str) -> None:
        super().__init__()
        self.module, self.item = module, item

    @property
    def delay(self) -> PrefetchDelay:
        """It, some time ago: `.delay.at(time)`."""
        return PrefetchDelay(self.module, self.item)

    def update(self, *args: Any) -> Any:
        if not hasattr(self.module, self.item):
            raise ParameterError(f"prefetch({self.item!r}): {type(self.module).__name__} has no such attribute.")
        found = getattr(self.module, self.item)
        return found.value if isinstance(found, State) else found


@final
class PrefetchDelay:
    """A State of a Module, some time ago."""

    def __init__(self, module: Any, item: str) -> None:
        self.module, self.item = module, item

    def at(self, *time_and_indices: Any) -> PrefetchDelayAt:
        """So long ago: see :meth:`Delay.retrieve`."""
        return PrefetchDelayAt(self.module, self.item, *time_and_indices)


@final
class PrefetchDelayAt(Module):
    """A State of a Module as it was some time ago, to be called for its value. Those of one State share its history.

    Args:
        module, item: the population, and the name of its State.
        time_and_indices: see :meth:`Delay.retrieve`; nothing for the present value.
        delay_init, interpolation: see :class:`StateWithDelay`.
    """

    def __init__(
        self, module: Any, item: str, *time_and_indices: Any, delay_init: Any = None, interpolation: str | None = None
    ) -> None:
        super().__init__()
        self.module, self.item = module, item
        self.delay: Any = None
        if time_and_indices:
            key = f"{item} delayed" if interpolation is None else f"{item} delayed, {interpolation}"
            if key not in module.after_updates:
                module.after_updates[key] = StateWithDelay(module, item, delay_init, interpolation)
            self.delay = module.after_updates[key]
            self.delay_time = self.delay.register_delay(*time_and_indices)

    def update(self, *args: Any) -> Any:
        return getattr(self.module, self.item).value if self.delay is None else self.delay.retrieve(*self.delay_time)


@final
class OutputDelayAt(Module):
    """What a population returned some time ago, to be called for it.

    Args:
        module: the population.
        time_and_indices: see :meth:`Delay.retrieve`.
        delay_init, interpolation: see :class:`Delay`; by default "linear".
    """

    def __init__(self, module: Any, *time_and_indices: Any, delay_init: Any = None, interpolation: str | None = None) -> None:
        super().__init__()
        self.module = module
        key = "output delayed" if interpolation is None else f"output delayed, {interpolation}"
        if key not in module.after_updates:
            info = jax.ShapeDtypeStruct(module.out_size, float)
            module.after_updates[key] = Delay(info, init=delay_init, interpolation=interpolation)
        self.delay = module.after_updates[key]
        self.delay_time = self.delay.register_delay(*time_and_indices)

    def update(self, *args: Any) -> Any:
        return self.delay.retrieve(*self.delay_time)
