"""NEST as the oracle: a Description goes out to a subprocess, a Recording comes back."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from reference.description import Description, Recording


def run_nest(description: Description, *, threads: int = 1) -> Recording:
    """Simulates the description with NEST, in double precision.

    Args:
        description: the network.
        threads: NEST's local threads; they change the order in which it sums, hence the last bit of a trace.

    Raises:
        RuntimeError: NEST refused, with what it printed.
    """
    script = Path(__file__).with_name("nest_network.py")
    with tempfile.TemporaryDirectory() as folder:
        asked, given = Path(folder) / "description.npz", Path(folder) / "recording.npz"
        description.save(asked)
        done = subprocess.run([sys.executable, str(script), str(asked), str(given), str(threads)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"NEST ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        with np.load(given) as recording:
            return Recording(
                times=recording["steps"] * description.dt,
                senders=recording["senders"],
                traces={name.removeprefix("traces/"): recording[name] for name in recording.files if name.startswith("traces/")},
                **({"passed": recording["passed"]} if description.watched else {}),
                **({"plastic": recording["plastic"]} if description.stdp else {}),
            )
