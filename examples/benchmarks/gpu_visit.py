"""All that is to be measured on a GPU, in one visit of 8 minutes: every figure is in a file as soon as it is known.

    python examples/benchmarks/gpu_visit.py --prepare visit          # anywhere: the digests of this machine's CPU, and wheels
    python examples/benchmarks/gpu_visit.py --compare visit --out results          # on the machine with the GPU
    python examples/benchmarks/gpu_visit.py --compare visit --out results --only digests full
    python examples/benchmarks/gpu_visit.py --small --out results          # the same in small, on whatever is there

Each item is a process of its own with a time limit, in an order in which what is lost by an early end matters least. Lines of
`visit.jsonl` name the item, the card, and either what was found or what went wrong. Wheels: `pip install --no-index --no-deps
--target SITE visit/wheels/*.whl`, where jax with CUDA is there already.

    here         versions, the card, a network of 20 ms
    digests      microcircuit at scale 0.1, and STDP weights: the bits of the CPU, each network run twice in a process
    latencies    a call, an operation in a loop (with and without command buffers), in us
    deliver      synaptic events of one step, by how long the runs of synapses are
    full         microcircuit at scale 1: 10 s after 0.5 s, without and with recording: real-time factor, memory, energy
    large        a network with more synapses than 2**31, and than 2**32 / 1.1
    modules      COBA and training beside brainpy.state, if it is there
    profile      what ncu says of the kernels, if it is there
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BUDGET_S = 480.0
LIMITS_S = {
    "here": 60, "digests": 120, "latencies": 60, "deliver": 60, "full": 200, "large": 150, "modules": 120, "profile": 60,
}  # fmt: skip
AS_GRAPH = "--xla_gpu_enable_command_buffer=+WHILE,+CUSTOM_CALL --xla_gpu_graph_min_graph_size=1"
Found = dict[str, Any]


def simulator(**options: Any) -> Any:
    import brainunit as u

    import dist_sim as ds

    return ds.Simulator(dt=0.1 * u.ms, seed=1, devices=1, **options)


def microcircuit(scale: float, **options: Any) -> Any:
    sys.path.insert(0, str(HERE.parent))
    import microcircuit as example

    sim = simulator(**options)
    example.build(sim, example.scaled_circuit(scale, "poisson"), "optimized")
    return sim


def plastic(neurons: int, **options: Any) -> tuple[Any, Any]:
    """Neurons of which each spike changes synapses; the Simulator and the population."""
    import brainunit as u

    import dist_sim as ds

    sim = simulator(**options)
    cells = sim.create(ds.iaf_psc_exp, neurons, V_m=ds.dist.Uniform(-70 * u.mV, -56 * u.mV))
    noise = sim.create(ds.poisson_generator, rate=8000 * u.Hz)
    sim.connect(noise, cells, weight=90 * u.pA, delay=1.5 * u.ms)
    rule = ds.fixed_indegree(neurons // 10)
    sim.connect(cells, cells, rule=rule, weight=20 * u.pA, delay=1.5 * u.ms, synapse="stdp_synapse")
    sim.connect(cells, sim.create(ds.spike_recorder))
    return sim, cells


def backends() -> list[str | None]:
    """What a GPU offers: its usual backend and plain XLA. On a CPU: both that are there."""
    return [None, "reference"]


def timed(f: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = f()
    return time.perf_counter() - begin, result


# ---- items: each gives findings one by one ----


def here(small: bool) -> Iterator[Found]:
    import brainunit as u
    import jax

    import dist_sim as ds

    names = ("jax", "jaxlib", "brainunit", "brainevent", "numpy")
    yield {"versions": {n: importlib.metadata.version(n) for n in names}, "python": sys.version.split()[0]}
    yield {"devices": [f"{d.platform} {d.device_kind}" for d in jax.devices()], "nvcc": shutil.which("nvcc") is not None}
    for backend in backends():
        sim = simulator(backend=backend)
        cells = sim.create(ds.iaf_psc_exp, 1000, I_e=500 * u.pA)
        sim.connect(cells, cells, rule=ds.fixed_indegree(10), weight=10 * u.pA, delay=1 * u.ms)
        sim.connect(cells, sim.create(ds.spike_recorder))
        seconds, result = timed(lambda sim=sim: sim.simulate(20 * u.ms))
        yield {"backend": result.summary["backend"], "first_20_ms_s": seconds, "digest": result.digest}


def digests(small: bool) -> Iterator[Found]:
    import brainunit as u
    import numpy as np

    scale, neurons, duration = (0.02, 200, 50.0) if small else (0.1, 2000, 200.0)
    for backend in backends():
        for precision in 32, 64:
            for run in "first", "second":
                sim = microcircuit(scale, backend=backend, precision=precision)
                digest = sim.simulate(duration * u.ms).digest
                yield {"key": f"microcircuit {scale} {duration} {precision}", "backend": backend, "run": run, "digest": digest}
        for run in "first", "second":
            sim, cells = plastic(neurons, backend=backend)
            digest = sim.simulate(duration * u.ms).digest
            weights = np.asarray(sim.get_connections(cells, cells).get("weight").mantissa)
            key = f"stdp {neurons} {duration}"
            yield {"key": key, "backend": backend, "run": run, "digest": digest + hashlib.sha256(weights.tobytes()).hexdigest()}


def latencies(small: bool) -> Iterator[Found]:
    import jax
    import jax.numpy as jnp

    x, trips = jnp.zeros(1024, jnp.int32), 200 if small else 2000

    def dependent(k: jax.Array, y: jax.Array) -> jax.Array:
        """A scatter that depends on the one before, so that no fusion takes two."""
        return y.at[y[k % 1024] % 1024].add(1)

    one = jax.jit(lambda x: x + 1)
    jax.block_until_ready(one(x))

    def calls() -> None:
        y = x
        for _ in range(trips):
            y = one(y)
        jax.block_until_ready(y)

    yield {"call_us": timed(calls)[0] / trips * 1e6, "flags": os.environ.get("XLA_FLAGS", "")}
    for unroll in 1, 16:
        loop = jax.jit(lambda x, unroll=unroll: jax.lax.fori_loop(0, trips, dependent, x, unroll=unroll))
        jax.block_until_ready(loop(x))
        for run in "first", "second":
            seconds, _ = timed(lambda loop=loop: jax.block_until_ready(loop(x)))
            yield {"trip_us": seconds / trips * 1e6, "unroll": unroll, "run": run}


def deliver(small: bool) -> Iterator[Found]:
    import brainunit as u

    import dist_sim as ds

    # All neurons spike in one step and nothing else happens: what it takes beyond a silent step is delivery.
    neurons, indegree = (2000, 60) if small else (20_000, 500)
    for backend in backends():
        for delays in 1, 4, 15, 60:
            sim = simulator(backend=backend)
            cells = sim.create(ds.parrot_neuron, neurons)
            source = sim.create(ds.spike_generator, params=dict(spike_times=[[5.0]] * u.ms))
            sim.connect(source, cells, delay=0.1 * u.ms)
            targets = sim.create(ds.iaf_psc_exp, neurons)
            delay = 1.0 * u.ms if delays == 1 else ds.dist.Uniform(0.95 * u.ms, (0.95 + 0.1 * delays) * u.ms)
            sim.connect(cells, targets, rule=ds.fixed_indegree(indegree), weight=1 * u.pA, delay=delay)
            sim.simulate(1 * u.ms)
            quiet, _ = timed(lambda sim=sim: sim.cont(2 * u.ms))
            busy, result = timed(lambda sim=sim: sim.cont(10 * u.ms))
            ours = (busy - 5 * quiet) * 1e9 / (neurons * indegree)  # means something where `busy` is much more than 5 `quiet`
            yield {"backend": backend, "delays": delays, "mean_run": indegree / delays, "ns_per_event": ours, "busy_s": busy,
                   "quiet_s": quiet, "events": result.summary["delivered_events"]}  # fmt: skip


def full(small: bool) -> Iterator[Found]:
    import brainunit as u

    scale, before, duration = (0.02, 20.0, 100.0) if small else (1.0, 500.0, 10_000.0)
    for backend in backends():
        build, sim = timed(lambda backend=backend: microcircuit(scale, backend=backend))
        first, result = timed(lambda sim=sim: sim.simulate(before * u.ms))
        yield {"backend": result.summary["backend"], "describe_s": build, "build_s": result.summary["build_s"], "first_s": first,
               "synapses": result.summary["synapses"], **memory()}  # fmt: skip
        with Energy() as energy:
            wall, result = timed(lambda sim=sim: sim.cont(duration * u.ms))
        yield {"backend": result.summary["backend"], "rtf": wall / (duration * 1e-3), "spikes": result.summary["spikes"],
               "digest": result.digest, "joules": energy.joules, "key": f"full {scale} {before}+{duration}"}  # fmt: skip


def large(small: bool) -> Iterator[Found]:
    import brainunit as u

    import dist_sim as ds

    for synapses in (2**18,) if small else (2**31 + 2**20, int(2**32 / 1.1)):
        neurons = 1000 if small else synapses // 10_000
        sim = simulator()
        cells = sim.create(ds.iaf_psc_exp, neurons, V_m=ds.dist.Uniform(-70 * u.mV, -56 * u.mV), I_e=400 * u.pA)
        rule = ds.fixed_indegree(synapses // neurons)
        sim.connect(cells, cells, rule=rule, weight=-1 * u.pA, delay=ds.dist.Uniform(0.5 * u.ms, 3 * u.ms))
        sim.connect(cells, sim.create(ds.spike_recorder))
        build, result = timed(lambda sim=sim: sim.simulate(10 * u.ms))
        wall, result = timed(lambda sim=sim: sim.cont(100 * u.ms))
        yield {"synapses": result.summary["synapses"], "first_s": build, "rtf": wall / 0.1, "digest": result.digest, **memory()}


def modules(small: bool) -> Iterator[Found]:
    command = [sys.executable, str(HERE / "coba_vs_brainpy.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    yield {"rc": done.returncode, "said": (done.stdout + done.stderr)[-3000:]}


def profile(small: bool) -> Iterator[Found]:
    ncu = shutil.which("ncu")
    if ncu is None:
        yield {"said": "ncu is not on PATH"}
        return
    command = [ncu, "--clock-control", "none", "--launch-skip", "200", "--launch-count", "40", "--csv", "--metrics",
               "gpu__time_duration.sum,dram__bytes.sum,sm__throughput.avg.pct_of_peak_sustained_elapsed"]  # fmt: skip
    done = subprocess.run([*command, sys.executable, __file__, "--item", "here"], capture_output=True, text=True)
    yield {"rc": done.returncode, "said": (done.stdout + done.stderr)[-6000:]}


ITEMS: dict[str, Callable[[bool], Iterator[Found]]] = {
    "here": here, "digests": digests, "latencies": latencies, "deliver": deliver, "full": full, "large": large,
    "modules": modules, "profile": profile,
}  # fmt: skip


def memory() -> Found:
    import jax

    stats = jax.devices()[0].memory_stats() or {}
    return {"device_bytes": stats.get("bytes_in_use"), "device_peak_bytes": stats.get("peak_bytes_in_use")}


class Energy:
    """What the card draws meanwhile, by nvidia-smi; `joules` None where it does not say."""

    joules: float | None = None

    def __enter__(self) -> Energy:
        self._begin, self._tool = time.perf_counter(), None
        if tool := shutil.which("nvidia-smi"):
            query = [tool, "--query-gpu=power.draw", "--format=csv,noheader,nounits", "-lms", "100"]
            self._tool = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._tool is not None:
            self._tool.terminate()
            watts = [float(w) for w in self._tool.communicate()[0].split() if w.replace(".", "", 1).isdigit()]
            if watts:
                self.joules = sum(watts) / len(watts) * (time.perf_counter() - self._begin)


# ---- the visit ----


def visit(out: Path, only: list[str], small: bool, known: dict[str, str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    begin, log = time.monotonic(), out / "visit.jsonl"
    tool = shutil.which("nvidia-smi")
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"] if tool else ["echo", "no GPU"]
    card = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    for item in only:
        left = BUDGET_S - (time.monotonic() - begin)
        for flags in ("", AS_GRAPH) if item == "latencies" and card != "no GPU" else ("",):
            command = [sys.executable, __file__, "--item", item, *(["--small"] if small else [])]
            environment = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()}
            ended = _follow(command, environment, min(LIMITS_S[item], left), partial(_note, log, item, card, known))
            if ended:
                _note(log, item, card, known, {"problem": ended})


def _follow(command: list[str], environment: dict[str, str], seconds: float, note: Callable[[Found], None]) -> str:
    """Runs an item and notes what it finds; returns what went wrong, or nothing."""
    process = subprocess.Popen(command, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    timer = threading.Timer(max(1.0, seconds), process.kill)
    timer.start()
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith('{"found"'):
            note(json.loads(line)["found"])
        else:
            said.append(line)
    code = process.wait()
    timer.cancel()
    return "" if code == 0 else f"ended with {code} after at most {seconds:.0f} s: {''.join(said)[-1500:]}"


def _note(log: Path, item: str, card: str, known: dict[str, str], found: Found) -> None:
    if (key := found.get("key")) in known:
        found["as_on_cpu"] = found["digest"] == known[key]
    with log.open("a") as file:
        file.write(json.dumps({"item": item, "card": card, **found}) + "\n")
    print(item, {k: v if not isinstance(v, str) else v[-400:] for k, v in found.items()}, flush=True)


def prepare(folder: Path, small: bool) -> None:
    """The digests of this machine's CPU, and the wheels of what dist_sim needs beside jax."""
    folder.mkdir(parents=True, exist_ok=True)
    known: dict[str, str] = {}
    for item in ("digests",) if small else ("digests", "full"):
        for found in ITEMS[item](small):
            if "key" in found and known.setdefault(found["key"], found["digest"]) != found["digest"]:
                raise SystemExit(f"{found['key']}: two digests on one CPU")
            print(item, found, flush=True)
    (folder / "digests.json").write_text(json.dumps(known, indent=2) + "\n")
    if not small:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.12", "-d"]
        names = ("brainunit", "saiunit", "brainevent", "array-api-compat", "optax", "orbax-checkpoint", "tensorstore", "xxhash")
        subprocess.run([*command, str(folder / "wheels"), *names], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help="write digests and wheels there, and end")
    parser.add_argument("--compare", type=Path, metavar="FOLDER", help="what --prepare has written")
    parser.add_argument("--out", type=Path, default=Path("visit-results"))
    parser.add_argument("--only", nargs="+", choices=ITEMS, default=list(ITEMS))
    parser.add_argument("--small", action="store_true", help="networks of a few hundred neurons")
    parser.add_argument("--item", choices=ITEMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.item is not None:
        for found in ITEMS[args.item](args.small):
            print(json.dumps({"found": found}), flush=True)
    elif args.prepare is not None:
        prepare(args.prepare, args.small)
    else:
        known = {} if args.compare is None else json.loads((args.compare / "digests.json").read_text())
        visit(args.out, args.only, args.small, known)


if __name__ == "__main__":
    main()
