"""What the processes of a run tell each other beside their collectives: short texts that the coordinator keeps.

It works while the main thread of a process is inside a collective that never returns.
"""

from __future__ import annotations

import time
from typing import Any

_SLICE_S = 60.0
_SHORTEST_S = 1e-3


def post(key: str, text: str) -> None:
    """Writes a text, over an older one."""
    _client().key_value_set(key, text, allow_overwrite=True)


def post_first(key: str, text: str) -> bool:
    """Writes a text unless there is one; whether this process was the first."""
    try:
        _client().key_value_set(key, text, allow_overwrite=False)
    except Exception as error:  # jaxlib's errors are not the same in its versions; the state is in their text
        return "ALREADY_EXISTS" not in str(error).upper()
    return True


def read(key: str, within_s: float = float("inf")) -> str | None:
    """A text, as soon as somebody writes it; None if nobody does in time, or if there is no coordinator any more.

    Other threads run meanwhile.
    """
    until = time.monotonic() + within_s
    while True:
        left = max(_SHORTEST_S, min(_SLICE_S, until - time.monotonic()))
        try:
            return _client().blocking_key_value_get(key, round(1000 * left))
        except Exception as error:
            # At the end there is no coordinator; where it is gone before, JAX ends this process.
            if "DEADLINE" not in str(error).upper() or time.monotonic() >= until:
                return None


def _client() -> Any:
    """The connection to the coordinator. JAX has no public name for it."""
    from jax._src import distributed

    return distributed.global_state.client
