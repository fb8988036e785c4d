"""What this process holds of memory, and the highest mark since it was last asked for."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

from dist_sim.run.summary import peak_rss_bytes

_SELF = Path("/proc/self")


def held_bytes() -> int:
    """Memory in use now: what the C library keeps of freed memory is given back first. The peak where the system does not say."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return _said("VmRSS")


def peak_bytes() -> int:
    """The most since the last call, which begins anew; of all the time where the system does not let it."""
    peak = _said("VmHWM")
    with suppress(OSError):
        (_SELF / "clear_refs").write_text("5")
    return peak


def _said(name: str) -> int:
    with suppress(OSError):
        for line in (_SELF / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return peak_rss_bytes()
