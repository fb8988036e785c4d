"""`resumable`: a loop over items, such as the epochs of a training, that is saved between them and goes on where it was."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np

from dist_sim.core import State, random
from dist_sim.partition.processes import Processes
from dist_sim.run.checkpoint import Checkpoints
from dist_sim.run.engine import REMEDY
from dist_sim.run.progress import STATUS_EVERY
from dist_sim.run.provenance import versions
from dist_sim.run.safe_point import SafePoint
from dist_sim.run.session import Session, current_session, tell
from dist_sim.run.tree import portable_tree, restore_states, values_everywhere
from dist_sim.run.tree_checkpoint import states_of

Item = TypeVar("Item")


def resumable(items: Iterable[Item], **trees: Any) -> Iterator[Item]:
    """The items, one after the other: `for epoch in ds.resumable(range(100), net=net, opt=opt): ...`.

    Under `dist-sim run` the States of the trees, and those of `ds.random`, are checkpointed between items when it is time, and
    when the run is asked to stop. A script that is resumed makes the same trees again; its loop then begins at the item after
    the newest checkpoint, with their values from there. What else must survive belongs into a State, such as the losses so far;
    random numbers of numpy are drawn anew for the items that are left out, or keyed by the item. Items are numbered and not
    saved: they must come in the same order again.

    Args:
        trees: Modules, optimizers, States, or lists and dicts of them.

    Raises:
        ParameterError: a tree without States; a checkpoint of other trees, with what differs. Stopped: the run was asked to stop;
            all is saved. OutputError: a checkpoint cannot be written or read.
    """
    states = states_of(trees, "resumable") | {"ds.random": random.DEFAULT}
    return _loop(items, states, current_session())


def _loop(items: Iterable[Item], states: Mapping[str, State], session: Session | None) -> Iterator[Item]:
    processes, checkpoints, done = Processes(jax.process_index(), jax.process_count()), None, 0

    if processes.count > 1:
        lines = {name: repr(state) for name, state in states.items()} | values_everywhere([*states.values()])
        processes.check_same(lines, REMEDY)
    speak = partial(tell, session=session, process=processes.index)
    if session is not None and session.directory is not None and session.checkpoints is not None:
        lines = {name: repr(state) for name, state in states.items()} | session.identity()
        checkpoints = Checkpoints(session.directory.new_loop_folder(), session.checkpoints, lines, None, speak, processes)
    point = SafePoint(session, processes, checkpoints, speak)
    if checkpoints is not None and session is not None and session.directory is not None and session.directory.resumed:
        saved = point.newest(2**31, allow_changed=session.allow_changed)
        if saved is not None:
            done = saved.step
            restore_states([*states.values()], saved.parts())
        speak(f"resumed after item {done}" if done else "resumed at the first item: there is no checkpoint")

    def save(checkpoints: Checkpoints) -> None:
        # Values that are kept here stay as they are: the next item makes others.
        values, step = [state.value for state in states.values()], done

        def collect() -> tuple[Mapping[str, np.ndarray], dict[str, Any]]:
            return portable_tree(values), {"versions": versions(), "ends": {}}

        checkpoints.save(step, collect)

    def show() -> None:
        if session is not None and session.directory is not None:
            session.directory.update_status(items_done=done, last_checkpoint=checkpoints and checkpoints.last)

    shown = -STATUS_EVERY
    try:
        for item in itertools.islice(iter(items), done, None):
            yield item
            done += 1
            if time.monotonic() - shown >= STATUS_EVERY:
                shown = time.monotonic()
                show()
            point.visit(save, f"item {done}")
    finally:
        if checkpoints is not None:
            checkpoints.wait()
        show()
