"""What a network is, in a few lines of text: two descriptions with the same lines are the same network, wherever they run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import xxhash

from dist_sim.simulator.assembly import Description
from dist_sim.simulator.nodes import Node

# More lines than this of one kind become one line: a checkpoint says them every time.
_LINES = 200


def identity(d: Description) -> dict[str, str]:
    """A line per population, device and connection, and dt, seed and precision.

    Devices of the mesh, placement, exchange, backend and chunk are left out: they change nothing.
    """
    lines = {"dt": f"{d.dt!r} ms", "seed": str(d.seed), "precision": f"{d.precision} bits"}
    for node in d.nodes:
        parts = {name: _text(draw) for name, draw in sorted(node.draws.items())}
        if node.device is not None:
            parts = {name: _text(value) for name, value in sorted(vars(node.device).items())}
        kind = f"{node.model.__name__} x {node.size}"
        lines[f"create {node.name}"] = ", ".join([kind, *(f"{name}={text}" for name, text in parts.items())])
    connected: list[tuple[str, str]] = []
    for number, c in enumerate((*d.connections, *(x.edges for x in d.stimuli))):
        connected.append((f"{c.where} [{number}]", _text(c)))
    for node, parts in d.recorded.items():
        connected.append((f"recorder {node.name}", _text([[number, ids] for number, ids in parts])))
    for number, s in enumerate(d.sampled):
        connected.append((f"meter {s.meter.name} [{number}]", _text([s.ids, s.number])))
    return lines | _shortened(connected)


def surroundings(d: Description) -> dict[str, str]:
    """A line for each thing that changes nothing, and yet must be the same on all processes of a run."""
    chunk = "chosen" if d.chunk is None else f"{d.chunk} steps"
    devices = f"{d.mesh.size} {d.mesh.devices.flat[0].platform}"
    placing = {"placement": _text(d.placement), "exchange": d.exchange.name}
    return {"backend": d.backend, "devices": devices, "chunk": chunk, **placing}


def _shortened(lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    lines = list(lines)
    if len(lines) <= _LINES:
        return dict(lines)
    return {"connections": f"{len(lines)} with xxh3 {xxhash.xxh3_64_hexdigest(repr(lines).encode())}"}


def _text(value: Any) -> str:
    """A value in words that are the same for equal values; arrays by their checksum."""
    if isinstance(value, np.ndarray):
        if value.size <= 4:
            return str(value.tolist())
        checksum = xxhash.xxh3_64_hexdigest(np.ascontiguousarray(value).tobytes())
        return f"{value.dtype}{list(value.shape)}#{checksum}"
    if is_dataclass(value) and not isinstance(value, type):
        # A field with its default says nothing.
        given = (f"{f.name}={_text(v)}" for f in fields(value) if (v := getattr(value, f.name)) is not f.default)
        return f"{type(value).__name__}({', '.join(given)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_text(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        if len(value) > 4:
            return f"{len(value)}#{xxhash.xxh3_64_hexdigest(''.join(map(_text, value)).encode())}"
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, Node):
        return value.name
    if isinstance(value, type):
        return value.__name__
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return repr(value)
    return f"{type(value).__name__}({_text(vars(value))})"
