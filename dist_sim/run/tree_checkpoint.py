"""Checkpoints by hand: `ds.checkpoint.save("folder", net=net, opt=opt)`, `ds.checkpoint.restore("folder", net=net, opt=opt)`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax

from dist_sim.core import State, walk
from dist_sim.errors import OutputError, ParameterError
from dist_sim.partition.processes import Processes
from dist_sim.run.checkpoint import CheckpointPolicy, Checkpoints
from dist_sim.run.checkpoint_files import checkpoint_steps
from dist_sim.run.provenance import versions
from dist_sim.run.session import tell
from dist_sim.run.tree import portable_tree, restore_states


def states_of(trees: Mapping[str, Any], where: str) -> dict[str, State]:
    """All States of some trees by name: `net.cells.V`.

    Raises:
        ParameterError: a tree without States.
    """
    for name, tree in trees.items():
        if not walk.states(tree):
            raise ParameterError(f"{where}({name}={type(tree).__name__}): holds no State. Give Modules, optimizers or States.")
    return {walk.dotted(path): state for path, state in walk.states(trees).items()}


def save(folder: Path | str, **trees: Any) -> None:
    """Writes the values of all States of the trees, with checksums; a crash at any moment leaves the old values or the new ones.

    Of several processes each writes what its devices have: all of them call it. Random numbers go on where they were if
    `random=ds.random.DEFAULT` is among the trees.

    Args:
        trees: Modules, optimizers, States, or lists and dicts of them.

    Raises:
        ParameterError: a tree without States. OutputError: it cannot be written.
    """
    states, path = states_of(trees, "checkpoint.save"), Path(folder)
    values = [state.value for state in states.values()]
    steps = checkpoint_steps(path) if path.exists() else []
    checkpoints = _checkpoints(path, states)
    checkpoints.save(1 + max(steps, default=-1), lambda: (portable_tree(values), {"versions": versions(), "ends": {}}))
    checkpoints.wait()


def restore(folder: Path | str, **trees: Any) -> None:
    """Gives the States of the trees the values that were saved, wherever they lie now: on other devices, or another mesh.

    Args:
        trees: as given to `save`, by the same names.

    Raises:
        ParameterError: trees of another structure, with what differs. OutputError: there is no sound checkpoint.
    """
    states, path = states_of(trees, "checkpoint.restore"), Path(folder)
    saved = _checkpoints(path, states).newest(2**31) if path.exists() else None
    if saved is None:
        raise OutputError(f"{folder}: holds no sound checkpoint. Give the folder that checkpoint.save was given.")
    restore_states([*states.values()], saved.parts())


def _checkpoints(folder: Path, states: Mapping[str, State]) -> Checkpoints:
    lines = {name: repr(state) for name, state in states.items()}
    processes = Processes(jax.process_index(), jax.process_count())
    speak = partial(tell, session=None, process=processes.index)
    return Checkpoints(folder, CheckpointPolicy(keep_last=1, every=0.0), lines, None, speak, processes)
