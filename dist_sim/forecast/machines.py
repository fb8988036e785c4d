"""What devices hold and how fast they are, for forecasts: one entry per kind of device, with where its numbers come from."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import Any, final

from dist_sim.run.control_group import memory_limit

_GIB, _GB = 2**30, 10**9


@final
@dataclass(frozen=True, kw_only=True)
class Machine:
    """One kind of device.

    Attributes:
        memory: bytes of one device.
        host: whether a device's memory is that of its host.
        neuron_ns, poisson_ns, event_ns: per neuron and step, per neuron with Poisson input and step, per synaptic event.
        word_ns: per 32 neurons of the whole network and step, to find who has spiked.
        step_us: of a step, whatever its size; kernel_us: of each kernel that it launches, where these are counted.
        platform: 'cpu', 'gpu' or 'tpu'; backend: whose kernels these are.
        synapse_ns: to draw one synapse and put it into its place.
        latency_us: of one exchange per doubling of the devices; `bandwidth`: bytes per second between devices.
        build_s: to build and compile a network, whatever its size.
        process_bytes: of a process before it has a network; on top of it compile_bytes: at most while it compiles, run_bytes: at
            most while it runs, for the program, and for the spikes of a chunk at the rate at which this was measured.
        building_bytes, own_bytes: per neuron of its own and besides the States, at most while they are built, and afterwards.
        sharing: devices of one process, which share its memory.
        source: of these numbers.
        measured: False where the times are estimates, not those of a quiet run.
    """

    memory: int
    host: bool
    neuron_ns: float
    poisson_ns: float
    event_ns: float
    word_ns: float
    step_us: float
    synapse_ns: float
    latency_us: float
    bandwidth: float
    source: str
    measured: bool
    kernel_us: float = 0.0
    platform: str = "cpu"
    backend: str = "native"
    # Python, JAX and the kernels, with jax 0.10.2 on CPU; parameters as they are drawn, in arrays of 8 bytes.
    build_s: float = 3.0
    process_bytes: int = 300 * 2**20
    compile_bytes: int = 0
    run_bytes: int = 0
    building_bytes: float = 8 * 25
    own_bytes: float = 8 * 25
    sharing: int = 1


# Guessed: a kernel of a CUDA graph that waits for the one before, a trip of the loop around them, an exchange.
_GPU: dict[str, Any] = dict(platform="gpu", backend="cuda", kernel_us=1.6, step_us=2.0, latency_us=10.0)
# Likewise a fused operation of a TPU's program; there XLA adds up scattered numbers one by one.
_TPU: dict[str, Any] = dict(platform="tpu", backend="reference", kernel_us=1.0, step_us=0.0, latency_us=5.0, event_ns=10.0)


def _accelerator(memory: int, bandwidth_tb: float, link: float, name: str, **kind: Any) -> Machine:
    """By its data sheet: per neuron and step 60 bytes are read or written, per event 8 of the synapse and 32 of a memory sector;
    half of the bandwidth is taken as reached, and the tables are built by the cores of the host."""
    reached = 0.5 * bandwidth_tb * 1e3  # bytes per ns
    kind = dict(event_ns=40 / reached) | kind
    return Machine(
        memory=memory, host=False, neuron_ns=60 / reached, poisson_ns=30 / reached, word_ns=8 / reached, synapse_ns=12.0,
        bandwidth=link, source=f"data sheet of {name}: {memory / _GB:.0f} GB at {bandwidth_tb:g} TB/s", measured=False, **kind,
    )  # fmt: skip


MACHINES = {
    "h200": _accelerator(141 * _GB, 4.8, 50e9, "NVIDIA H200 SXM", **_GPU),
    "h100": _accelerator(80 * _GB, 3.35, 50e9, "NVIDIA H100 SXM", **_GPU),
    "a100": _accelerator(80 * _GB, 2.039, 25e9, "NVIDIA A100 80GB SXM", **_GPU),
    "a100-40gb": _accelerator(40 * _GB, 1.555, 25e9, "NVIDIA A100 40GB SXM", **_GPU),
    "v5p": _accelerator(95 * _GB, 2.765, 100e9, "Google TPU v5p", **_TPU),
    "v5e": _accelerator(16 * _GB, 0.819, 50e9, "Google TPU v5e", **_TPU),
}


def memory_here() -> int:
    """Bytes that this process may have: of the machine, or of its control groups (a container, a job of SLURM) or limit if these
    are smaller."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), resource.getrlimit(resource.RLIMIT_AS)[0]]
    if (of_groups := memory_limit()) is not None:
        limits.append(of_groups.bytes)
    return min(limit for limit in limits if limit > 0)


def cpu(cores: int) -> Machine:
    """A device of so many cores of this machine, and its memory."""
    return Machine(
        memory=memory_here(), host=True, neuron_ns=1.5 / cores, poisson_ns=1.7 / cores,
        event_ns=4.5 / cores, word_ns=0.5, step_us=28.0, synapse_ns=135.0 / cores, latency_us=30.0, bandwidth=5e9,
        source=f"{cores} cores: estimates after CPU times of iaf_psc_exp on a busy AMD EPYC; words, latency, bandwidth guessed",
        measured=False,
    )  # fmt: skip
