from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import brainunit as u

from dist_sim.models.init.initializer import Initializer


@final
@dataclass(frozen=True, eq=False)
class Constant(Initializer):
    """The same value everywhere.

    Args:
        value: a number, a quantity, or an array of either that broadcasts to the shapes asked for.
    """

    value: Any

    @property
    def unit(self) -> Any:
        return u.get_unit(self.value)

    def __call__(self, size: int | tuple[int, ...]) -> Any:
        return u.math.broadcast_to(u.math.asarray(self.value), (size,) if isinstance(size, int) else size)
