"""The mesh that neurons are spread over, and how global arrays are made from what each device owns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dist_sim.errors import DeviceError, ParameterError

NEURON = "neuron"  # the mesh axis over which neurons, and the synapses that end on them, are spread


def neuron_mesh(devices: int | Sequence[Any] | Mesh | None = None) -> Mesh:
    """A one-dimensional mesh with the axis `neuron`.

    Axes are `Auto`: the default of `jax.make_mesh` refuses the slices and gathers of ordinary model code.

    Args:
        devices: how many, which, or a mesh as it is; None takes one device. On CPU, asking for more than there are makes
            virtual devices, as long as JAX has not been used yet.

    Raises:
        ParameterError: not a positive number.
        DeviceError: fewer devices than asked for.
    """
    if isinstance(devices, Mesh):
        return devices
    if isinstance(devices, bool | float | str):
        raise ParameterError(f"devices={devices!r}: a whole number, devices or a mesh is needed.")
    if devices is None or isinstance(devices, int | np.integer):
        count = 1 if devices is None else int(devices)
        if count < 1:
            raise ParameterError(f"devices={devices}: at least one device is needed.")
        found = _devices(count)[:count]
    else:
        found = list(devices)
    return Mesh(np.array(found), (NEURON,), axis_types=(AxisType.Auto,))


def sharded(mesh: Mesh, *axes: str | None) -> NamedSharding:
    """The sharding with these mesh axes for the dimensions of an array; none for an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec(*axes))


def from_blocks(mesh: Mesh, blocks: Sequence[np.ndarray]) -> jax.Array:
    """One global array whose first axis is the devices' blocks in order. Large blocks are handed over, not copied, on CPU."""
    shape = (sum(b.shape[0] for b in blocks), *blocks[0].shape[1:])
    arrays = [jax.device_put(b, d, may_alias=True) for b, d in zip(blocks, mesh.devices.flat, strict=True)]
    return jax.make_array_from_single_device_arrays(shape, sharded(mesh, NEURON), arrays)


def _devices(count: int) -> list[Any]:
    if count > 1:
        try:
            # Only the CPU backend heeds it, and only before the first use of JAX; afterwards JAX says so by a RuntimeError.
            if getattr(jax.config, "jax_num_cpu_devices", 0) < count:
                jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError:
            pass
    found = jax.devices()
    if len(found) < count:
        kind = found[0].platform
        hint = (
            f"On CPU ask before JAX is used: `dist-sim run --devices {count}`, or make the Simulator before the first array."
            if kind == "cpu"
            else "Ask for fewer, or start more processes."
        )
        raise DeviceError(f"devices={count}: there are {len(found)} {kind} devices. {hint}")
    return found
