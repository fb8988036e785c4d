"""The COBA network, and one training step of a recurrent network, beside brainpy.state: the same user code in both.

    pip install '.[benchmark]'
    python examples/benchmarks/coba_vs_brainpy.py [--quick] [--only training] [--json FILE]

Each case is a process of its own, built and warmed up first. In every round each runs once while the others sleep, so that a
change of the machine's speed meets all alike; figures are medians over rounds, and ratios are taken within a round. brainpy.state
computes its event-driven products with numba on CPUs; it is measured with dense weights as well, where those train faster.

COBA: Vogels-Abbott network as in Brette et al. (2007), doi:10.1007/s10827-007-0038-6, with 80 + 80 synapses per source and the
conductances of that benchmark (leak 10 nS, so 0.6 and 6.7 of the leak per spike), dt = 0.1 ms.
Training: gradient by backpropagation through 500 steps of 1,000 recurrent LIF neurons, 10 % connected, of all weights, in 16
trials, and an update of the weights. The memory is the peak of the process less what it held before the first step.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

COBA_MS = 200.0
STEPS, TRIALS, HIDDEN = 500, 16, 1000
# Case, library, devices. The first of each case is what the others are compared with.
CASES: tuple[tuple[str, str, int], ...] = (
    ("COBA 4,000", "dist_sim", 1), ("COBA 4,000", "dist_sim", 2), ("COBA 4,000", "brainpy.state", 1),
    ("COBA 40,000", "dist_sim", 1), ("COBA 40,000", "dist_sim", 2), ("COBA 40,000", "brainpy.state", 1),
    ("training, sparse", "dist_sim", 1), ("training, sparse", "brainpy.state", 1), ("training, dense", "brainpy.state", 1),
)  # fmt: skip
Run = Callable[[], float]
"""One run; gives what both libraries must agree about, roughly: a rate in Hz, or a loss."""


def library(name: str, devices: int) -> SimpleNamespace:
    """The names that a case uses, from either library."""
    if name == "dist_sim":
        import dist_sim as ds

        return SimpleNamespace(
            models=ds, nn=ds.nn, init=ds.init, surrogate=ds.surrogate, transform=ds.transform, environ=ds.environ,
            random=ds.random, Module=ds.Module, ParamState=ds.ParamState, mesh=lambda: ds.use_mesh(devices=devices),
        )  # fmt: skip
    import brainpy.state as models
    import brainstate as bs
    import braintools as bt

    return SimpleNamespace(
        models=models, nn=bs.nn, init=bt.init, surrogate=bt.surrogate, transform=bs.transform, environ=bs.environ,
        random=bs.random, Module=bs.nn.Module, ParamState=bs.ParamState, mesh=contextlib.nullcontext,
    )  # fmt: skip


def coba(lib: SimpleNamespace, num: int) -> Run:
    """Runs on from where it is, for COBA_MS."""
    import brainunit as u
    import numpy as np

    models, nn = lib.models, lib.nn

    class EINet(lib.Module):
        def __init__(self) -> None:
            super().__init__()
            self.n_exc = num * 4 // 5
            self.N = models.LIFRef(
                num, V_rest=-60.0 * u.mV, V_th=-50.0 * u.mV, V_reset=-60.0 * u.mV, tau=20.0 * u.ms, tau_ref=5.0 * u.ms,
                V_initializer=lib.init.Normal(-55.0, 2.0, unit=u.mV),
            )  # fmt: skip

            def projection(sources: int, weight: float, tau: float, E: float) -> Any:
                return models.AlignPostProj(
                    comm=nn.EventFixedProb(sources, num, conn_num=80 / num, conn_weight=weight * u.siemens),
                    syn=models.Expon.desc(num, tau=tau * u.ms),
                    out=models.COBA.desc(E=E * u.mV),
                    post=self.N,
                )

            self.E = projection(self.n_exc, 0.6, 5.0, 0.0)
            self.I = projection(num - self.n_exc, 6.7, 10.0, -80.0)

        def update(self, t: Any) -> Any:
            with lib.environ.context(t=t):
                spikes = self.N.get_spike() != 0.0
                self.E(spikes[: self.n_exc])
                self.I(spikes[self.n_exc :])
                self.N(20.0 * u.mA)
                return self.N.get_spike().sum()

    with lib.mesh():
        net = EINet()
        lib.nn.init_all_states(net)
    lib.environ.set(dt=0.1 * u.ms)
    steps, begin = round(COBA_MS / 0.1), [0]
    run = lib.transform.jit(lambda times: lib.transform.for_loop(net.update, times))

    def go_on() -> float:
        # The time goes on too: a neuron of brainpy.state compares it with that of its last spike.
        times = (begin[0] + np.arange(steps)) * 0.1 * u.ms
        begin[0] += steps
        return float(np.asarray(run(times)).sum()) / num / COBA_MS * 1e3

    return go_on


def training(lib: SimpleNamespace, sparse: bool) -> Run:
    """One step of gradient descent."""
    import brainunit as u
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    models, nn, rng = lib.models, lib.nn, np.random.default_rng(0)
    scale = 1 / np.sqrt(0.1 * HIDDEN)

    class Recurrent(lib.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neurons = models.LIF(HIDDEN, R=1.0 * u.ohm, tau=20.0 * u.ms, V_th=1.0 * u.mV)
            self.inward = lib.ParamState(jnp.asarray(rng.normal(0, 1.7, (100, HIDDEN)), jnp.float32))
            self.outward = lib.ParamState(jnp.asarray(rng.normal(0, HIDDEN**-0.5, (HIDDEN, 10)), jnp.float32))
            if sparse:
                comm = nn.EventFixedProb(HIDDEN, HIDDEN, 0.1, lib.init.Normal(0.0, scale, unit=u.mS))
            else:
                there = jnp.asarray(rng.random((HIDDEN, HIDDEN)) < 0.1, jnp.float32)
                weights = jnp.asarray(rng.normal(0, scale, there.shape), jnp.float32) * there * u.mS
                comm = nn.Linear(HIDDEN, HIDDEN, w_init=weights, b_init=None, w_mask=there)
            self.recurrent = models.AlignPostProj(
                comm=comm, syn=models.Expon.desc(HIDDEN, tau=10.0 * u.ms), out=models.CUBA.desc(scale=u.volt), post=self.neurons
            )

        def update(self, x: Any) -> Any:
            self.recurrent(self.neurons.get_spike())
            return self.neurons((x @ self.inward.value) * u.mA) @ self.outward.value

    lib.random.seed(1)
    net = Recurrent()
    xs = jnp.asarray(rng.random((STEPS, TRIALS, 100)) < 0.03, jnp.float32)
    labels = jnp.asarray(rng.integers(0, 10, TRIALS))
    lib.nn.init_all_states(net, batch_size=TRIALS)
    lib.environ.set(dt=1.0 * u.ms)
    weights = net.states(lib.ParamState)

    def loss() -> Any:
        lib.nn.init_all_states(net, batch_size=TRIALS)
        logits = lib.transform.for_loop(net, xs).mean(0)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @lib.transform.jit
    def step() -> Any:
        gradients, value = lib.transform.grad(loss, weights, return_value=True)()
        for name, state in weights.items():
            down = jax.tree.map(lambda g: 0.01 * g, gradients[name])
            state.value = jax.tree.map(lambda w, d: w - d, state.value, down)
        return value

    return lambda: float(step())


def work(number: int) -> None:
    """A process of one case: builds it, then runs it when it is told to."""
    title, name, devices = CASES[number]
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    lib = library(name, devices)
    what, _, size = title.partition(" ")
    run = coba(lib, int(size.replace(",", ""))) if what == "COBA" else training(lib, size == "sparse")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        value = run()
        seconds = time.perf_counter() - begin
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(json.dumps({"seconds": seconds, "value": value, "mb": memory}), flush=True)


def measure(numbers: list[int], rounds: int) -> list[list[dict[str, Any]]]:
    """For each of these cases what its process answered in each round."""
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    workers: list[subprocess.Popen[str]] = []
    try:
        for number in numbers:
            worker = subprocess.Popen(
                [sys.executable, __file__, "--case", str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path},
            )  # fmt: skip
            workers.append(worker)
            assert worker.stdout is not None
            if worker.stdout.readline() != "ready\n":
                raise RuntimeError(f"{CASES[number]}: could not be built; what it said stands above. Is numba installed?")
        answers: list[list[dict[str, Any]]] = [[] for _ in workers]
        for _ in range(rounds):
            for worker, found in zip(workers, answers, strict=True):
                assert worker.stdin is not None and worker.stdout is not None
                print(file=worker.stdin, flush=True)
                found.append(json.loads(worker.stdout.readline()))
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    return answers


def lines(cases: list[tuple[str, str, int]], answers: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One line per case: medians, and how much longer it takes than the first of its kind."""
    found, first = [], 0
    for number, (case, answer) in enumerate(zip(cases, answers, strict=True)):
        kind = case[0].partition(",")[0] if case[0].startswith("training") else case[0]
        if number == 0 or not cases[first][0].startswith(kind):
            first = number
        ratios = [each["seconds"] / one["seconds"] for each, one in zip(answer, answers[first], strict=True)]
        found.append({
            "case": case[0], "library": case[1], "devices": case[2], "ratio": median(ratios),
            **{name: median(each[name] for each in answer) for name in ("seconds", "value", "mb")},
        })  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds instead of nine")
    parser.add_argument("--only", default="", help="the beginning of the names of cases")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case is not None:
        work(args.case)
        return
    numbers = [number for number, (title, _, _) in enumerate(CASES) if title.startswith(args.only)]
    found = lines([CASES[number] for number in numbers], measure(numbers, 3 if args.quick else 9))
    print(f"{'':<18}{'library':<15}{'devices':>8}{'time':>12}{'/ first':>9}{'memory [MB]':>13}{'rate [Hz] or loss':>19}")
    for line in found:
        scale, unit = (1e6 / (COBA_MS / 0.1), "us/step") if line["case"].startswith("COBA") else (1.0, "s")
        print(
            f"{line['case']:<18}{line['library']:<15}{line['devices']:>8}{line['seconds'] * scale:>9.3g} {unit:<7}"
            f"{line['ratio']:>4.2f}{line['mb']:>13.0f}{line['value']:>19.2f}"
        )
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
