"""The mesh that neurons are spread over, and how global arrays are made from what each device owns."""

from __future__ import annotations

import contextvars
import math
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import jax
import numpy as np
from jax._src.xla_bridge import backends_are_initialized
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dist_sim.errors import DeviceError, ParameterError
from dist_sim.partition.processes import refuse_copies, refuse_forked

NEURON = "neuron"  # the mesh axis over which neurons, and the synapses that end on them, are spread


def automatic(mesh: Mesh) -> Mesh:
    """The same mesh with Auto axes: the Explicit ones of `jax.make_mesh` refuse the slices and gathers of ordinary code."""
    if all(kind == AxisType.Auto for kind in mesh.axis_types):
        return mesh
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def neuron_mesh(devices: int | Sequence[Any] | Mesh | None = None) -> Mesh:
    """A one-dimensional mesh with the axis `neuron`.

    Axes are `Auto`: the default of `jax.make_mesh` refuses the slices and gathers of ordinary model code.

    Args:
        devices: how many, which, or a mesh as it is; None takes one device. On CPU, asking for more than there are makes
            virtual devices, as long as JAX has not been used yet. In a program of several processes a number counts the devices
            of all of them, equally many of each, in the order of processes, and None takes all there are.

    Raises:
        ParameterError: not a positive number.
        DeviceError: fewer devices than asked for, or a number that the processes cannot share equally.
    """
    refuse_forked()
    if isinstance(devices, Mesh):
        return devices
    if isinstance(devices, bool | float | str):
        raise ParameterError(f"devices={devices!r}: a whole number, devices or a mesh is needed.")
    if devices is None or isinstance(devices, int | np.integer):
        if devices is not None and devices < 1:
            raise ParameterError(f"devices={devices}: at least one device is needed.")
        if jax.distributed.is_initialized():
            found = _of_all_processes(None if devices is None else int(devices))
        else:
            refuse_copies(os.environ)
            count = 1 if devices is None else int(devices)
            found = _devices(count)[:count]
    else:
        found = list(devices)
    return Mesh(np.array(found), (NEURON,), axis_types=(AxisType.Auto,))


def without_devices(error: BaseException) -> DeviceError | None:
    """What an error of JAX means that finds no device to start on, which it may say in no word; None of any other error."""
    if not isinstance(error, AssertionError | RuntimeError) or backends_are_initialized():
        return None
    # JAX may have taken the frame out of the traceback that would say so best.
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not frames[-1].filename.startswith(os.path.dirname(jax.__file__)):
        return None
    chosen = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
    why = str(error) or "there is none on this machine, or its plugin is not installed"
    return DeviceError(
        f"JAX_PLATFORMS={chosen or ''}: JAX finds no such device: {why}. Install the plugin (pip install 'jax[cuda12]'), start "
        "on a machine that has the devices, or set JAX_PLATFORMS=cpu; dist-sim doctor tells what this one has."
    )


def all_devices() -> list[Any]:
    """The devices that JAX knows, of all processes.

    Raises:
        DeviceError: there are none of the platform that is asked for.
    """
    try:
        return jax.devices()
    except (AssertionError, RuntimeError) as error:
        if (known := without_devices(error)) is None:
            raise
        raise known from error


def run_mesh(devices: int | Sequence[Any] | Mesh | None = None) -> Mesh:
    """As :func:`neuron_mesh`, but None takes the devices of `dist-sim run --devices`, if it was given."""
    return neuron_mesh(_ASKED.get() if devices is None else devices)


Axes = tuple[str | EllipsisType | None, ...]
"""Names for the axes of an array: before `...` for the first ones, after it (or without it) for the last ones."""


@dataclass(frozen=True)
class MeshRules:
    """A mesh, and which of its axes split the named axes of arrays.

    Args:
        rules: (name, mesh axis) pairs; a name that is not in it stands for the mesh axis of that name.
        exchange: how its devices communicate in programs; None chooses.
    """

    mesh: Mesh
    rules: tuple[tuple[str, str | None], ...] = ()
    exchange: str | None = None

    def sharding(self, axes: Axes, shape: tuple[int, ...]) -> NamedSharding:
        """Where an array with these named axes lies.

        An axis stays whole if its name has no mesh axis, or if the mesh axis does not divide its size.
        """
        rules = dict(self.rules)
        spec: list[str | None] = [None] * len(shape)
        for position, name in zip(*_positions(axes, len(shape)), strict=True):
            axis = rules.get(name, name)
            if axis in self.mesh.shape and axis not in spec and shape[position] % self.mesh.shape[axis] == 0:
                spec[position] = axis
        while spec and spec[-1] is None:
            spec.pop()
        return sharded(self.mesh, *spec)

    def neuron_axis(self, axes: Axes, rank: int) -> int | None:
        """Which axis of an array with these named axes lies along the mesh axis `neuron`."""
        rules = dict(self.rules)
        found = [at for at, name in zip(*_positions(axes, rank), strict=True) if rules.get(name, name) == NEURON]
        return found[0] if found and NEURON in self.mesh.shape else None


_CURRENT: contextvars.ContextVar[MeshRules | None] = contextvars.ContextVar("dist_sim_mesh", default=None)
_ASKED: contextvars.ContextVar[int | None] = contextvars.ContextVar("dist_sim_devices", default=None)


@contextmanager
def asked_devices(count: int | None) -> Iterator[None]:
    """Within this context :func:`run_mesh` takes so many devices; None leaves it the choice of :func:`neuron_mesh`."""
    token = _ASKED.set(count)
    try:
        yield
    finally:
        _ASKED.reset(token)


@contextmanager
def use_mesh(
    mesh: Mesh | None = None,
    *,
    devices: int | Sequence[Any] | None = None,
    shape: Mapping[str, int] | None = None,
    rules: Mapping[str, str | None] | None = None,
    exchange: str | None = None,
) -> Iterator[Mesh]:
    """Spreads the States that are created inside over a mesh: `with use_mesh(devices=8): ...`.

    States are split along their named axes (`State(..., axes=...)`; each kind of State has a default): the axis `neuron` over
    the mesh axis `neuron`, a batch over the mesh axis `batch`, if the mesh has them.

    `use_mesh()` takes the devices of `dist-sim run --devices`; in a script run by plain python, or without that option, one (of
    several processes, all there are). On devices of several processes each runs the program, and has what a compiled function or
    loop returns whole; States stay split over them.

    Args:
        mesh: a mesh as it is.
        devices: instead, how many devices (or which) in a mesh with the one axis `neuron`.
        shape: instead, the size of each mesh axis: `{"batch": 2, "neuron": 4}`.
        rules: for names of axes that are not names of mesh axes: `{"neuron": "x", "batch": None}`; None keeps the axis whole.
        exchange: how the devices communicate: "memory" (CPUs of one process), "mpi" (processes under mpirun), or "mask" for
            collectives of JAX, the only ones for other devices and for meshes of several axes. None takes the fastest there is.
            What is computed is the same.

    Yields:
        The mesh.

    Raises:
        ParameterError: more than one of mesh, devices and shape; a rule for a mesh axis that does not exist.
        DeviceError: fewer devices than asked for.
    """
    if sum(given is not None for given in (mesh, devices, shape)) > 1:
        raise ParameterError("use_mesh: give one of mesh=..., devices=... or shape={'batch': 2, 'neuron': 4}, or nothing.")
    if shape is not None:
        found = neuron_mesh(math.prod(shape.values())).devices
        mesh = Mesh(found.reshape(tuple(shape.values())), tuple(shape), axis_types=(AxisType.Auto,) * len(shape))
    elif mesh is None:
        mesh = run_mesh(devices)
    elif any(kind != AxisType.Auto for kind in mesh.axis_types):
        raise ParameterError(
            "use_mesh: the mesh has Explicit or Manual axes, which refuse the slices and gathers of ordinary model code. Make it "
            "with axis_types=(jax.sharding.AxisType.Auto,) * n."
        )
    for name, axis in (rules or {}).items():
        if axis is not None and axis not in mesh.shape:
            raise ParameterError(f"use_mesh(rules={{{name!r}: {axis!r}}}): the mesh has the axes {', '.join(mesh.shape)}.")
    token = _CURRENT.set(MeshRules(mesh, tuple((rules or {}).items()), exchange))
    try:
        yield mesh
    finally:
        _CURRENT.reset(token)


def current_mesh() -> MeshRules | None:
    """What :func:`use_mesh` set here."""
    return _CURRENT.get()


def sharded(mesh: Mesh, *axes: str | None) -> NamedSharding:
    """The sharding with these mesh axes for the dimensions of an array; none for an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec(*axes))


def from_blocks(mesh: Mesh, blocks: Sequence[np.ndarray], axis: int = 0) -> jax.Array:
    """One global array which along an axis is the devices' blocks in order. Large blocks are handed over, not copied, on CPU.

    Args:
        blocks: of one shape, of the devices of this process, in their order in the mesh.
    """
    shape = list(blocks[0].shape)
    shape[axis] *= mesh.size
    arrays = [jax.device_put(b, d, may_alias=True) for b, d in zip(blocks, local_devices(mesh), strict=True)]
    return jax.make_array_from_single_device_arrays(tuple(shape), sharded(mesh, *(None,) * axis, NEURON), arrays)


def joined(mesh: Mesh, own: np.ndarray, axis: int = 0) -> jax.Array:
    """One global array which along an axis is the parts of the processes, each the blocks of its devices in their order."""
    return from_blocks(mesh, np.split(own, len(local_positions(mesh)), axis=axis), axis)


def local_devices(mesh: Mesh) -> list[Any]:
    """The devices of this process, in their order in the mesh."""
    return [device for device in mesh.devices.flat if device.process_index == jax.process_index()]


def local_positions(mesh: Mesh) -> np.ndarray:
    """Which places of a one-dimensional mesh are devices of this process."""
    return np.flatnonzero([device.process_index == jax.process_index() for device in mesh.devices.flat])


def spread(value: Any, sharding: NamedSharding) -> Any:
    """A host array that every process holds, as something a State with this sharding takes: over several processes a global
    array, to which each gives its devices' parts; else the array as it is."""
    if sharding.is_fully_addressable:
        return value
    host = np.asarray(value)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def local_part(array: jax.Array, axis: int = 0) -> np.ndarray:
    """This process's part of an array that is split along one axis: its devices' blocks in order."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    shards = sorted(array.addressable_shards, key=lambda shard: shard.index[axis].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards], axis=axis)


def whole(array: jax.Array) -> np.ndarray:
    """All of a global array, on every process: memory and traffic follow its size, and every process calls it."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def _positions(axes: Axes, ndim: int) -> tuple[list[int], list[str]]:
    """The positions of the named axes of an array, and their names. Where there are too few axes, the last names win."""
    split = axes.index(...) if ... in axes else 0
    first, last = axes[:split], axes[split + (... in axes) :]
    last = last[max(len(last) - ndim, 0) :]
    first = first[: ndim - len(last)]
    named = [*enumerate(first), *enumerate(last, ndim - len(last))]
    return [n for n, name in named if isinstance(name, str)], [name for _, name in named if isinstance(name, str)]


def _of_all_processes(count: int | None) -> list[Any]:
    found: dict[int, list[Any]] = {}
    for device in all_devices():
        found.setdefault(device.process_index, []).append(device)
    processes, there = jax.process_count(), sum(map(len, found.values()))
    if count is not None and count % processes:
        raise DeviceError(
            f"devices={count}: {processes} processes cannot share them equally. The number counts the devices of all processes; "
            f"ask for a multiple of {processes}, or for none (all {there} are taken)."
        )
    share = None if count is None else count // processes
    fewest = min(map(len, found.values()))
    if share is not None and share > fewest:
        raise DeviceError(
            f"devices={count}: there are {there} {jax.devices()[0].platform} devices in {processes} processes ({fewest} in one "
            f"of them), and {share} are needed in each. Ask for fewer, start more processes, or start with "
            f"`dist-sim run --devices {count}`."
        )
    return [device for process in sorted(found) for device in sorted(found[process], key=lambda d: d.id)[:share]]


def _devices(count: int) -> list[Any]:
    if count > 1:
        try:
            # Only the CPU backend heeds it, and only before the first use of JAX; afterwards JAX says so by a RuntimeError.
            if getattr(jax.config, "jax_num_cpu_devices", 0) < count:
                jax.config.update("jax_num_cpu_devices", count)
        except RuntimeError:
            pass
    found = all_devices()
    if len(found) < count:
        kind = found[0].platform
        hint = (
            f"On CPU ask before JAX is used: `dist-sim run --devices {count}`, or make the Simulator before the first array."
            if kind == "cpu"
            else "Ask for fewer, or start more processes."
        )
        raise DeviceError(f"devices={count}: there are {len(found)} {kind} devices. {hint}")
    return found
