"""Orbax for what one of several processes has: it would have all of them write one tree together."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore


def own_checkpointer() -> ocp.Checkpointer:
    """Saves and restores host arrays of this process, in a folder of its own, whatever other processes do meanwhile."""
    logging.getLogger("absl").addFilter(_raised_as_well)  # the same function: added once
    _hush_late_writes()
    if jax.process_count() == 1:
        return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    # What is written is whole in one process, and no business of the others.
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"dist_sim_{me}")
    registry = ocp.type_handlers.create_type_handler_registry(
        (np.ndarray, _OwnArrays()), (jax.Array, ocp.type_handlers.ArrayHandler())
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone, type_handler_registry=registry)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _raised_as_well(record: logging.LogRecord) -> bool:
    """Threads of Orbax log the traceback of what is then raised, and told in one line."""
    return not ("orbax" in record.pathname and record.levelno >= logging.ERROR)


def _hush_late_writes() -> None:
    """When Orbax cannot write an array it closes its event loop, and raises. Writes of others, which end later, find it closed,
    and Python prints a traceback of that."""
    usual = sys.unraisablehook
    if getattr(usual, "__module__", None) == __name__:
        return

    def told(about: Any) -> None:
        if about.exc_type is not RuntimeError or str(about.exc_value) != "Event loop is closed":
            usual(about)

    sys.unraisablehook = told


class _OwnArrays(ocp.type_handlers.NumpyHandler):
    """Writes the arrays of whatever process this is: Orbax takes host arrays of several processes for copies of one another, and
    writes those of process 0 alone, without a word."""

    async def serialize(self, values: Sequence[np.ndarray], infos: Sequence[Any], args: Any = None) -> list[Any]:
        del args
        for value, info in zip(values, infos, strict=True):
            await info.await_path_creation()
            # Where Orbax looks for what a process has written.
            folder = f"{info.parent_dir}/ocdbt.process_{jax.process_index()}/"
            place = {"driver": "ocdbt", "base": {"driver": "file", "path": folder}, "path": f"{info.name}/"}
            store = await tensorstore.open(
                {"driver": "zarr", "kvstore": place}, create=True, dtype=value.dtype, shape=value.shape
            )
            await store.write(value)
        return []
