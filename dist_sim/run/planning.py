"""`dist-sim plan`: a script runs up to its first simulation, and what it would simulate is taken instead of built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, final

_planning: ContextVar[bool] = ContextVar("planning", default=False)


@final
class Planned(BaseException):
    """Ends a script at its first simulation, past every `except Exception` of it.

    Attributes:
        description: of the network; `steps`: asked for in that simulation.
    """

    def __init__(self, description: Any, steps: int) -> None:
        super().__init__()
        self.description, self.steps = description, steps


@contextmanager
def planning() -> Iterator[None]:
    """Within this context, simulations end by raising `Planned`."""
    token = _planning.set(True)
    try:
        yield
    finally:
        _planning.reset(token)


def stop_if_planning(describe: Callable[[], Any], steps: int) -> None:
    """Called by what is about to build a network and to simulate `steps`."""
    if _planning.get():
        raise Planned(describe(), steps)
