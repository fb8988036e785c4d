"""What States and transforms cost, beside brainstate: the same user code in one process, timed in alternation.

    python examples/benchmarks/transforms.py [--quick] [--only calls network eager nested] [--json FILE]

The figure of a line is the median over repeats of our time divided by brainstate's, the two timed one right after the other.
Absolute times (medians) are a side note: they are those of this machine, now. Nothing that prepares a repeat is timed. The last
column is bare JAX, where there is such a thing: the same arrays, in and out by hand.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
from bare_jax import Program, nesting_of_arrays, network_of_arrays, new_adaptation, new_potential, repeated, threaded
from rich.console import Console
from rich.progress import track
from rich.table import Table

import dist_sim

Measure = Callable[[], float]
"""Makes one repeat and gives its seconds."""

SUBJECTS = {"dist_sim": dist_sim, "brainstate": brainstate, "jax": jax}


def calls(lib: Any) -> Iterator[tuple[str, Measure]]:
    """One call of a compiled step with 100 States of 10 floats that computes next to nothing."""
    for title, writes in (("call, 100 states written", 100), ("call, 50 written, 50 only read", 50)):
        arrays = [jnp.full(10, float(n)) for n in range(100)]

        def new_values(written: list[Any], only_read: list[Any]) -> list[Any]:
            return [0.5 * value + other for value, other in zip(written, only_read or written[::-1], strict=True)]

        if lib is jax:
            yield title, per_call(threaded(jax.jit(new_values), arrays[:writes], arrays[writes:]), 100)
            continue
        states = [lib.State(array) for array in arrays]

        def step(written: list[Any] = states[:writes], only_read: list[Any] = states[writes:]) -> None:
            values = new_values([state.value for state in written], [state.value for state in only_read])
            for state, value in zip(written, values, strict=True):
                state.value = value

        yield title, per_call(lib.transform.jit(lambda step=step: step()), 100)


def network(lib: Any) -> Iterator[tuple[str, Measure]]:
    """100 steps of 50 Modules with 2 HiddenStates and 2 ParamStates each, with units: from Python to a program."""
    xs = jnp.ones((100, 10)) * u.mV
    new = network_of_arrays() if lib is jax else network_of_modules(lib)
    yield "50 modules, trace and lower", timed(new, lambda program: program.lower(xs))
    yield "50 modules, XLA compile", timed(lambda: new().lower(xs), lambda lowered: lowered.compile())
    yield "50 modules, first call", timed(new, lambda program: program.run(xs))


def modules(lib: Any, count: int) -> Any:
    """A chain of leaky units with adaptation, 10 neurons each, with units."""

    class Unit(lib.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.V = lib.HiddenState(jnp.zeros(10) * u.mV)
            self.w = lib.HiddenState(jnp.zeros(10) * u.mV)
            self.tau = lib.ParamState(jnp.full(10, 20.0) * u.ms)
            self.E_L = lib.ParamState(jnp.full(10, -65.0) * u.mV)

        def update(self, x: Any) -> Any:
            dt = lib.environ.get("dt")
            self.V.value = new_potential(self.V.value, self.w.value, self.tau.value, self.E_L.value, x, dt)
            self.w.value = new_adaptation(self.V.value, self.w.value, self.tau.value, self.E_L.value, dt)
            return self.V.value

    class Network(lib.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.units = [Unit() for _ in range(count)]

        def update(self, x: Any) -> Any:
            for unit in self.units:
                x = 0.5 * unit(x)
            return x

    return Network()


def network_of_modules(lib: Any) -> Callable[[], Program]:
    model = modules(lib, 50)

    def new() -> Program:
        jitted = lib.transform.jit(lambda xs: lib.transform.for_loop(model, xs))
        return Program(jitted.lower, jitted)

    return new


def loops(lib: Any) -> Iterator[tuple[str, Measure]]:
    """The same 20 steps of 5 modules as a loop of Python and as a compiled one."""
    if lib is jax:
        return
    model: Any = modules(lib, 5)
    xs: Any = jnp.ones((20, 10)) * u.mV
    compiled = lib.transform.jit(lambda xs: lib.transform.for_loop(model, xs))

    def python() -> list[Any]:
        return [model(x) for x in xs]

    yield "20 steps of 5 modules in Python", per_call(python, 1)
    yield "20 steps of 5 modules, compiled", per_call(lambda: compiled(xs), 20)


def eager(lib: Any) -> Iterator[tuple[str, Measure]]:
    """Reading and writing a State outside of every transform."""
    array, other = jnp.zeros(10), jnp.ones(10)
    values = {
        "array": (array, other),
        "quantity": (array * u.mV, other * u.mV),
        "tree of 3 arrays": ({"a": array, "b": [array, array]}, {"a": other, "b": [other, other]}),
    }
    for title, (value, new) in values.items():
        if lib is jax:
            continue
        state = lib.State(value)

        def write(state: Any = state, new: Any = new) -> None:
            state.value = new

        yield f"read, {title}", per_call(lambda state=state: state.value, 5000)
        yield f"write, {title}", per_call(write, 5000)


def nested(lib: Any) -> Iterator[tuple[str, Measure]]:
    """Tracing jit(for_loop(cond(jit(...)))), the whole once, twice and three times inside itself."""
    new = nesting_of_arrays() if lib is jax else nesting_of_states(lib)
    x = jnp.ones(10)
    for depth in (1, 2, 3):
        yield f"{depth} deep, trace and lower", timed(lambda depth=depth: new(depth), lambda run: run(x))


def nesting_of_states(lib: Any) -> Callable[[int], Any]:
    transform = lib.transform
    states = [lib.State(jnp.full(10, float(n))) for n in range(5)]

    def leaf(x: Any) -> Any:
        for state in states:
            state.value = 0.5 * state.value + x
        return states[0].value

    def around(inside: Callable[[Any], Any]) -> Callable[[Any], Any]:
        compiled = transform.jit(inside)

        def step(x: Any) -> Any:
            return transform.cond(x.sum() > 0, compiled, lambda x: states[1].value * x, x)

        return lambda x: transform.for_loop(step, jnp.stack([x, -x])).sum(0)

    return lambda depth: transform.jit(repeated(around, leaf, depth)).lower


def per_call(call: Callable[[], Any], times: int) -> Measure:
    """The mean over calls in a row; what they computed is waited for once, at the end."""

    def measure() -> float:
        jax.block_until_ready(call())
        begin = time.perf_counter()
        for _ in range(times):
            out = call()
        jax.block_until_ready(out)
        return (time.perf_counter() - begin) / times

    return measure


def timed(prepare: Callable[[], Any], run: Callable[[Any], Any]) -> Measure:
    """One run, on something newly prepared."""

    def measure() -> float:
        subject = prepare()
        gc.collect()
        begin = time.perf_counter()
        jax.block_until_ready(jax.tree.leaves(run(subject)))
        return time.perf_counter() - begin

    return measure


FAMILIES = {"calls": (calls, 15), "network": (network, 7), "eager": (eager, 15), "nested": (nested, 7), "loops": (loops, 3)}
"""With the number of repeats; a first one warms up and does not count."""


def compare(family: str, quick: bool) -> Iterator[dict[str, Any]]:
    """The lines of one family: times of every subject in seconds, and the ratio."""
    lines, repeats = FAMILIES[family]
    measures: dict[str, dict[str, Measure]] = {}
    for name, subject in SUBJECTS.items():
        for title, measure in lines(subject):
            measures.setdefault(title, {})[name] = measure
    for title, by_name in track(measures.items(), family, console=Console(stderr=True), transient=True):
        seconds: dict[str, list[float]] = {name: [] for name in by_name}
        for repeat in range(4 if quick else repeats + 1):
            # Each goes first in every other repeat.
            for name in list(by_name)[:: 1 if repeat % 2 else -1]:
                seconds[name].append(by_name[name]())
        counted = {name: each[1:] for name, each in seconds.items()}
        ratios = [ours / theirs for ours, theirs in zip(counted["dist_sim"], counted["brainstate"], strict=True)]
        yield {
            "line": title,
            "ratio": median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
            "seconds": {name: median(each) for name, each in counted.items()},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three repeats of every line")
    parser.add_argument("--only", nargs="+", choices=sorted(FAMILIES), default=list(FAMILIES), help="which lines")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    args = parser.parse_args()
    for subject in (dist_sim, brainstate):
        subject.environ.set(dt=0.1 * u.ms)
    table = Table("", "ratio", "range", "dist_sim", "brainstate", "JAX", title="time, dist_sim / brainstate")
    table.columns[0].no_wrap = True
    lines = [line for family in args.only for line in compare(family, args.quick)]
    for line in lines:
        times = [_duration(line["seconds"].get(name)) for name in SUBJECTS]
        colour = "green" if line["ratio"] <= 0.5 else "yellow" if line["ratio"] <= 1 else "red"
        span = f"{line['lowest']:.2f}-{line['highest']:.2f}"
        table.add_row(line["line"], f"[{colour}]{line['ratio']:.2f}", span, *times)
    console = Console()
    console.width = max(console.width, 100)  # also where the output goes to a file
    console.print(table)
    if args.json is not None:
        versions = {name: version(name) for name in SUBJECTS}
        args.json.write_text(json.dumps({"versions": versions, "lines": lines}, indent=2) + "\n")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    unit, scale = next(
        ((unit, scale) for unit, scale in (("s", 1), ("ms", 1e3), ("µs", 1e6)) if seconds * scale >= 1), ("ns", 1e9)
    )
    return f"{seconds * scale:.3g} {unit}"


if __name__ == "__main__":
    main()
