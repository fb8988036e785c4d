"""Safe points of a run: between two chunks, or two items of a loop, it may save, stop, and go on from what was saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import final

from dist_sim.partition.processes import Processes
from dist_sim.run.checkpoint import Checkpoints, Saved
from dist_sim.run.progress import in_phase
from dist_sim.run.segment_reader import SegmentReader
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped


@final
class SafePoint:
    """Where all processes of a run decide together.

    Args:
        checkpoints: None if none are taken.
        tell: called with a line for the user.
    """

    def __init__(
        self, session: Session | None, processes: Processes, checkpoints: Checkpoints | None, tell: Callable[[str], None]
    ) -> None:
        self._session, self._processes, self._checkpoints, self._tell = session, processes, checkpoints, tell

    @in_phase("checkpoint")
    def visit(self, save: Callable[[Checkpoints], None], at: str) -> None:
        """Saves if it is time to, and ends if the run has been asked to.

        Args:
            save: begins to save; at: how the user calls this moment.

        Raises:
            Stopped: the run has been asked to stop; all is saved. OutputError: it could not be.
        """
        if self._session is None or self._session.stop is None:
            return
        checkpoints, processes = self._checkpoints, self._processes
        reason = self._session.stop.reason(2 * checkpoints.save_seconds if checkpoints is not None else 0.0)
        due = checkpoints is not None and processes.index == 0 and checkpoints.due()
        # All stop, and save, at the same point: when one is asked to stop, and when process 0 finds it is time.
        stopping, saving = processes.largest([int(reason is not None), int(due)])
        if stopping:
            reason = reason or "another process was asked to stop"
            if checkpoints is not None:
                save(checkpoints)
                checkpoints.wait()
                self._tell(f"{reason}: saved at {at}, to be resumed")
            processes.largest([0])  # nobody leaves before the checkpoint is on the disk
            raise Stopped(reason)
        if checkpoints is not None and saving:
            save(checkpoints)

    def newest(self, last: int, *, allow_changed: bool, spikes: Path | None = None) -> Saved | None:
        """The newest sound checkpoint to go on from: one up to step `last`, or a later one of a script that had come to `last`.

        Process 0 looks for it and puts damaged ones aside, then the others read the same.

        Args:
            spikes: folder of the segments that must reach to the checkpoint; where they were cut, an older one is taken.
        """
        checkpoints, saved = self._checkpoints, None
        assert checkpoints is not None
        if self._processes.index == 0:
            reach = 2**31
            if spikes is not None:
                reach = SegmentReader(spikes).end_step if any(spikes.glob("seg-*.bin")) else 0
                if reach < max(checkpoints.steps(), default=0):
                    self._tell(f"the spikes after step {reach} were cut off: an older checkpoint is needed")
            saved = checkpoints.newest(reach, allow_changed=allow_changed)
            if saved is not None and saved.step > last and str(last) not in saved.facts["ends"]:
                saved = checkpoints.newest(last, allow_changed=allow_changed)
        step = int(self._processes.first("-1" if saved is None else str(saved.step)))
        if self._processes.index and step >= 0:
            saved = checkpoints.at(step)
        return saved
