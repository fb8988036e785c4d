"""`Run`: a step of Modules, advanced, recorded, checkpointed and resumed as a network of the Simulator is."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.core import Module, ShortTermState, State, environ, random, transform
from dist_sim.errors import NumericalError, OutputError, ParameterError
from dist_sim.partition.mesh import current_mesh
from dist_sim.partition.processes import ALONE, processes_of
from dist_sim.run.checkpoint import Saved
from dist_sim.run.directory import RunDirectory
from dist_sim.run.engine import Engine
from dist_sim.run.loop import ChunkedLoop
from dist_sim.run.names import checked_name
from dist_sim.run.progress import in_phase
from dist_sim.run.recording import Recording
from dist_sim.run.result import RunResult
from dist_sim.run.series import Series
from dist_sim.run.statistics import Population
from dist_sim.run.summary import build_summary, peak_rss_bytes
from dist_sim.run.tree import described, portable_tree, restore_states, values_everywhere

_CHUNK_STEPS, _CHUNK_BYTES = 1000, 2**25  # between two visits of the host, and what it then takes


@final
class Run:
    """A program of Modules as a run: `run = ds.Run(step, record={"cells": net.cells}); result = run.advance(1 * u.second)`.

    Steps run compiled, in chunks. Under `dist-sim run` what is recorded goes to the run directory, the States that steps write
    are checkpointed in global order, and the run can be stopped and resumed, on other devices too; without it all stays in
    memory. A script that is resumed makes the same Run again, and `advance` goes on where the newest checkpoint is: States that
    no step writes, the script sets again.

    Args:
        step: what one step does, called with its time t [time], or without arguments; inside, environ has `t` and the number `i`
            of the step.
        record: name -> what is recorded after every step. A Module with `get_spike`: its spikes. A function: its value, an array
            or quantity of fixed shape; of booleans, spikes. It is called without arguments or with what `step` returned.
        every: time between samples of what is not spikes, a multiple of dt; None for every step.
        chunk: largest time between two visits of the host; None chooses.
        name: of its results, where a script has several runs; None for a number.

    dt and the precision are those of environ when it is made.

    Raises:
        ParameterError, UnitError: arguments that do not fit; something to record that is neither.
    """

    def __init__(
        self, step: Callable[..., Any], *, record: Mapping[str, Any] | None = None, every: Any = None, chunk: Any = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        self._program = _Program(step, dict(record or {}), every, chunk, name)

    def advance(self, duration: Any) -> RunResult:
        """Goes on for a time.

        Args:
            duration: [time] >= 0, a multiple of dt.

        Returns:
            All that was recorded since the Run began.

        Raises:
            NumericalError: a State is NaN or infinite. OutputError: the disk takes nothing more. Stopped: the run was asked to
                stop.
        """
        return self._program.advance(units.whole_steps(duration, self._program.dt, "Run.advance"))


@final
class _Program(Engine):
    """The engine of a Run.

    States of its own: log (chunk, words) bits, the spikes of every step of the chunk; of each trace, its samples in the chunk.
    """

    @in_phase("build")
    def __init__(self, step: Callable[..., Any], record: dict[str, Any], every: Any, chunk: Any, name: str | None) -> None:
        self._environment = {"dt": environ.get_dt(), "precision": environ.get_precision()}
        dt = float(units.magnitude(self._environment["dt"], "ms", "Run"))
        mesh = current_mesh()
        name = None if name is None else checked_name(name, f"Run(name={name!r})")
        super().__init__(dt, ALONE if mesh is None else processes_of(mesh.mesh), name)
        if mesh is None and jax.process_count() > 1:
            raise ParameterError("Run: of several processes each would compute the whole. Make it inside `with ds.use_mesh():`.")
        begin = time.perf_counter()
        self._every = 1 if every is None else units.whole_steps(every, dt, "Run(every=...)")
        if self._every < 1:
            raise ParameterError(f"Run(every={every}): needs at least one step of {dt:g} ms.")
        self._step, self._record = _with_optional("step", step), {n: _recorded(n, what) for n, what in record.items()}
        with self.environment():
            with self.phases.phase("build"):
                shapes = transform.eval_shape(lambda: self._one(jnp.int32(0)))
                # What is made for them now would hang where they are others.
                self.check_same({f"recorded {what}": str(jax.tree.leaves(shape)[0]) for what, shape in shapes.items()})
                self._arrange(shapes, None if chunk is None else units.whole_steps(chunk, dt, "Run(chunk=...)"))
            self.loop = ChunkedLoop(self._update, self.chunk, overflow=lambda: None)
            with self.phases.phase("compile"):
                self.loop.compile(0)
            own = {self._log, *self._samples.values()}
            self._states = [s for s in self.loop.written if s not in own]
            self.check_same()
            _all_finite(_floats(self._states))
        self.build_s = time.perf_counter() - begin

    def _arrange(self, shapes: Mapping[str, Any], chunk: int | None) -> None:
        """Where each thing that is recorded goes, from the shapes that a step gives."""
        first, self._populations, self._traces = 0, [], {}
        for name, shape in shapes.items():
            if isinstance(shape, jax.ShapeDtypeStruct) and shape.dtype == bool:
                self._populations.append((name, first, int(np.prod(shape.shape))))
                first += self._populations[-1][2]
            else:
                self._traces[name] = shape
        self._words = -(-first // 32)
        sizes = [leaf.size * leaf.dtype.itemsize for shape in self._traces.values() for leaf in jax.tree.leaves(shape)]
        fitting = max(1, min(_CHUNK_STEPS, _CHUNK_BYTES // max(1, 4 * self._words + sum(sizes) // self._every)))
        self.chunk = fitting if chunk is None else max(1, chunk)
        self._log = ShortTermState(jnp.zeros((self.chunk, self._words), jnp.uint32), axes=())
        rows = self.chunk // self._every + 2
        self._samples = {}
        for name, shape in self._traces.items():
            if len(leaves := jax.tree.leaves(shape)) != 1:
                raise ParameterError(f"Run(record={{{name!r}: ...}}): gives {len(leaves)} arrays; give each a name of its own.")
            self._samples[name] = ShortTermState(jnp.zeros((rows, *leaves[0].shape), leaves[0].dtype), axes=())

    # ---- a step ----

    def _one(self, n: jax.Array) -> dict[str, Any]:
        """One step; what it leaves to be recorded."""
        with environ.context(i=n, t=n * self._environment["dt"]):
            returned = self._step(n * self._environment["dt"])
            return {name: what(returned) for name, what in self._record.items()}

    def _update(self, n: jax.Array, first: jax.Array) -> None:
        found = self._one(n)
        if self._words:
            spikes = jnp.concatenate([found[name].reshape(-1) for name, _, _ in self._populations])
            bits = jnp.pad(spikes, (0, 32 * self._words - len(spikes))).reshape(-1, 32).astype(jnp.uint32)
            word = (bits << jnp.arange(32, dtype=jnp.uint32)).sum(axis=1, dtype=jnp.uint32)
            self._log.value = self._log.value.at[n - first].set(word)
        # The row of an interval is written at each of its steps; the last one, at a multiple of the interval, is what stays.
        row = n // self._every - first // self._every
        for name, state in self._samples.items():
            state.value = state.value.at[row].set(jax.tree.leaves(found[name])[0])

    # ---- between chunks ----

    @in_phase("simulate")
    def advance(self, steps: int) -> RunResult:
        self.run(steps)
        self.ends[str(self.step)] = True
        duration, populations = self.step * self.dt, self.populations()
        summary = build_summary(
            model_time_ms=duration, wall_s=self.wall_s, build_s=self.build_s, neurons=sum(size for _, _, size in populations),
            populations=populations, recording=self.recording, phases=self.phases.seconds, devices=self._devices(),
            precision=self._environment["precision"],
            peak_rss=[int(peak) for peak in self.processes.gather(np.array([peak_rss_bytes()])).reshape(-1)],
        )  # fmt: skip
        self.finish(summary)
        units_of = {name: jax.tree.map(lambda _: 0, shape) for name, shape in self._traces.items()}
        traces = {name: (series.so_far(self.step), units_of[name]) for name, series in self._series.items()}
        return RunResult(self.recording.so_far, populations, traces, self.step, self._every, summary)

    @in_phase("record")
    def collect(self, first: int, last: int) -> float | None:
        if not bool(_all_finite(_floats(self._states))):
            self._refuse_infinite(first, last)
        spikes = 0
        if self._words:
            words = np.asarray(jax.device_get(self._log.value))[: last - first]
            flags = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
            steps, ids = np.nonzero(flags)
            spikes = len(ids)
            mine = self.processes.index == 0  # all processes see all spikes, and one writes them
            self.recording.append(first, last, *((steps + first, ids) if mine else (steps[:0], ids[:0])))
        else:
            self.recording.append(first, last, np.zeros(0, np.int64), np.zeros(0, np.int64))
        done = last // self._every - first // self._every
        for name, series in self._series.items():
            series.append(first, last, np.asarray(jax.device_get(self._samples[name].value))[:done])
        neurons = sum(size for _, _, size in self._populations)
        return spikes / ((last - first) * self.dt * 1e-3) / neurons if neurons else None

    def _refuse_infinite(self, first: int, last: int) -> None:
        for state in self._states:
            for leaf in _floats([state]):
                bad = np.argwhere(~np.isfinite(np.asarray(jax.device_get(leaf))))
                if len(bad):
                    at = tuple(int(k) for k in bad[0])
                    raise NumericalError(
                        f"{state.label}: became NaN or infinite between {first * self.dt:g} and {last * self.dt:g} ms, at {at} "
                        f"and {len(bad) - 1} more places. Inputs or weights that are too large do this: look at their units; dt "
                        "may be too coarse."
                    )

    # ---- checkpoints ----

    def identity(self) -> Mapping[str, str]:
        known = {"program": "Run", "dt": f"{self.dt:g} ms", "every": f"{self._every} steps"}
        known |= {f"recorded {name}": f"{size} neurons" for name, _, size in self._populations}
        known |= {f"recorded {name}": str(jax.tree.leaves(shape)[0]) for name, shape in self._traces.items()}
        return known | described(self._states)

    def surroundings(self) -> Mapping[str, str]:
        known = {"chunk": f"{self.chunk} steps", "devices": str(self._devices()), "precision": str(environ.get_precision())}
        return known | values_everywhere([*self._states, random.DEFAULT])

    def begin_recording(self, directory: RunDirectory | None, begin: int) -> None:
        folder = None if directory is None else directory.next_samples_folder()
        options: dict[str, Any] = {"dt": self.dt, "resumed": directory is not None and directory.resumed, "begin": begin}
        self._series = {
            name: Series(
                folder and folder / f"trace-{k}", state.value.dtype, state.value.shape[1:], writes=self.processes.index == 0,
                **options,
            )
            for k, (name, state) in enumerate(self._samples.items())
        }  # fmt: skip
        self._before = {name: series.count(begin) for name, series in self._series.items()}
        self.recording = Recording(directory, self.dt, processes=self.processes, begin=begin)

    def populations(self) -> list[Population]:
        return list(self._populations)

    def saved_states(self) -> Iterable[State]:
        return self._states

    def portable(self, values: Mapping[State, Any], step: int) -> Mapping[str, np.ndarray]:
        return portable_tree([values[state] for state in self._states])

    def facts(self) -> Mapping[str, Any]:
        return {
            "devices": self._devices(),
            "samples": {name: series.appended + self._before[name] for name, series in self._series.items()},
        }

    def restore(self, saved: Saved) -> None:
        if (found := self._before) != saved.facts["samples"]:
            raise OutputError(
                f"{found} samples were taken before step {saved.step}, and {saved.facts['samples']} when the checkpoint was "
                "taken: files were changed or lost. Bring them back from a copy."
            )
        restore_states(self._states, saved.parts())

    def sync(self) -> None:
        for series in self._series.values():
            series.sync()

    def environment(self) -> AbstractContextManager[Any]:
        return environ.context(**self._environment)

    def _devices(self) -> int:
        return len({d for state in self._states for leaf in jax.tree.leaves(state.value) for d in leaf.devices()}) or 1


@jax.jit
def _all_finite(values: list[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.isfinite(v).all() for v in values] or [jnp.array(True)]).all()


def _floats(states: Iterable[State]) -> list[jax.Array]:
    return [x for s in states for x in jax.tree.leaves(s.value) if jnp.issubdtype(x.dtype, jnp.inexact)]


def _with_optional(what: str, f: Callable[..., Any]) -> Callable[[Any], Any]:
    """A function that is called with one argument, of one that takes it or does without."""
    if not callable(f):
        raise ParameterError(f"Run: {what} must be a function; got {f!r:.60}.")
    try:
        inspect.signature(f.update if isinstance(f, Module) else f).bind(None)
    except TypeError:
        return lambda _: f()
    return f


def _recorded(name: str, what: Any) -> Callable[[Any], Any]:
    """What is recorded under a name, from what the step returned."""
    checked_name(name, f"Run(record={{{name!r}: ...}})")
    if isinstance(what, Module):
        if not callable(spikes := getattr(what, "get_spike", None)):
            raise ParameterError(
                f"Run(record={{{name!r}: {type(what).__name__}}}): has no get_spike. Give a function of what is to be recorded, "
                "of booleans for spikes."
            )
        return lambda _: spikes() != 0
    return _with_optional(f"record[{name!r}]", what)
