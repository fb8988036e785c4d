"""What it costs two processes to exchange the spikes of the microcircuit, by gloo (exchange `mask`) and by MPI (exchange `mpi`),
and two devices of one process, by JAX (`mask`) and in memory (`memory`).

    python examples/benchmarks/exchange_mpi.py --scale 0.2 --piece 200 --rounds 8
    python examples/benchmarks/exchange_mpi.py --mpirun mpirun.openmpi

The same circuit runs in one process with one thread and with two, in one process with two devices of one thread each, and in two
processes of one thread each under mpirun. All are built and warmed up first, then wait; in each round each simulates a piece of
model time while all others sleep, so that a change of the machine's speed meets all alike. Medians over the rounds are reported,
and the ratio to the first line within each round.

`exchange` is timed apart: a compiled loop that only exchanges, as many bytes as the circuit does. `over half` is what a step on
two devices takes beyond half of a step on one device with one thread: the exchange, the waiting of the device that is first, and
the work that both devices do. The minimum delay of the circuit is one step, so that it exchanges in every step.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WAIT_S = 200  # for a worker, to be built or to answer
# Title, processes, devices of each, threads of each, exchanges; the first is what the others are compared with.
JOBS = (
    ("1 process, 1 thread", 1, 1, 1, ("mask",)),
    ("1 process, 2 threads", 1, 1, 2, ("mask",)),
    ("1 process, 2 devices", 1, 2, 2, ("mask", "memory")),
    ("2 processes, mpirun", 2, 1, 2, ("mask", "mpi")),
)


def work(job: int, port: int, scale: float) -> None:
    """A process of a job: builds its circuits, then simulates or exchanges when it is told to."""
    _, processes, devices, threads, exchanges = JOBS[job]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    from dist_sim.cluster.bootstrap import start
    from dist_sim.cluster.launch import Launch, detect

    launch = detect(os.environ) if processes > 1 else Launch(launcher="single")
    start(launch, processes * devices)
    sys.path.insert(0, str(HERE.parent))
    import brainunit as u
    import jax
    from microcircuit import build, scaled_circuit

    import dist_sim as ds

    sims: dict[str, ds.Simulator] = {}
    for exchange in exchanges:
        sims[exchange] = sim = ds.Simulator(dt=0.1 * u.ms, seed=1, devices=processes * devices, exchange=exchange)
        build(sim, scaled_circuit(scale, "poisson"), "optimized")
        sim.simulate(100 * u.ms)
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rw") as stream:
        print(json.dumps({"job": job, "process": launch.process}), file=stream, flush=True)
        for line in stream:
            told = json.loads(line)
            sim = sims[told["exchange"]]
            if "exchanges" in told:
                answer: Any = bare_exchange(sim, told["exchanges"])
            else:
                assert sim._simulation is not None
                begin = sim._simulation.wall_s
                summary = sim.cont(told["piece"] * u.ms).summary
                answer = {name: summary[name] for name in ("wall_s", "digest", "neurons", "synapses", "spikes")}
                answer["step_us"] = (summary["wall_s"] - begin) * 1e6 / (told["piece"] / sim.dt)
                layout = sim._simulation.network.layout
                answer["bytes"] = layout.slots_per_device // 8
            print(json.dumps(answer), file=stream, flush=True)
    if processes > 1:
        jax.distributed.shutdown()


def bare_exchange(sim: Any, number: int) -> float:
    """Microseconds of one exchange of the circuit's masks, in a compiled loop of nothing else."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import PartitionSpec as P

    from dist_sim.kernels.gather import gather
    from dist_sim.partition.mesh import NEURON, sharded

    projection = sim._simulation.network.projection
    words = projection.layout.slots_per_device // 32

    def island(mine: jax.Array) -> jax.Array:
        def again(n: int, mine: jax.Array) -> jax.Array:
            if sim.exchange.name == "mask":
                found = jax.lax.all_gather(mine, NEURON)
            else:
                found, _turn = gather(jax.lax.axis_index(NEURON), mine[None], jnp.int32(n), projection.exchange.meeting)
            return found[0] + found[-1]

        return jax.lax.fori_loop(0, number, again, mine)

    mesh = projection.mesh
    loop = jax.jit(jax.shard_map(island, mesh=mesh, in_specs=P(None, NEURON), out_specs=P(None, NEURON), check_vma=False))
    masks = jnp.zeros((projection.interval, words * mesh.size), jnp.uint32, device=sharded(mesh, None, NEURON))
    loop(masks).block_until_ready()
    begin = time.perf_counter()
    loop(masks).block_until_ready()
    return (time.perf_counter() - begin) * 1e6 / number


class Job:
    """The processes of a job, which wait for what to do."""

    def __init__(self, number: int, port: int, scale: float, mpirun: str):
        self.title, self.processes, _, _, self.exchanges = JOBS[number]
        line = [sys.executable, __file__, "--job", str(number), "--port", str(port), "--scale", str(scale)]
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(HERE.parent.parent)}
        if self.processes > 1:
            options = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"] if "openmpi" in mpirun else []
            line = [mpirun, *options, "-n", str(self.processes), *line]
        else:
            environment["DIST_SIM_ALONE"] = "1"
        self.process = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
        self.streams: dict[int, Any] = {}

    def join(self, server: socket.socket) -> None:
        """Waits until all processes are built."""
        until = time.monotonic() + WAIT_S
        while len(self.streams) < self.processes:
            try:
                connection, _ = server.accept()
            except TimeoutError:
                if self.process.poll() is None and time.monotonic() < until:
                    continue
                self.process.kill()
                raise RuntimeError(f"{self.title}: not begun. {self.process.communicate()[1][-2000:]}") from None
            connection.settimeout(WAIT_S)
            stream = connection.makefile("rw")
            self.streams[json.loads(stream.readline())["process"]] = stream

    def do(self, **told: Any) -> Any:
        """Tells all processes, and gives the answer of the first."""
        for stream in self.streams.values():
            print(json.dumps(told), file=stream, flush=True)
        answers = [json.loads(stream.readline()) for _, stream in sorted(self.streams.items())]
        return answers[0]

    def end(self) -> None:
        for stream in self.streams.values():
            stream.close()
        self.process.kill()
        self.process.communicate()


def measure(scale: float, piece: float, rounds: int, mpirun: str) -> list[dict[str, Any]]:
    """One line of the table for each job and exchange."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        jobs: list[Job] = []
        try:
            for number in range(len(JOBS)):
                # One after the other: beside each other they would be built more slowly, and no sooner.
                jobs.append(job := Job(number, server.getsockname()[1], scale, mpirun))
                job.join(server)
            cases = [(job, exchange) for job in jobs for exchange in job.exchanges]
            pieces: list[list[dict[str, Any]]] = [[] for _ in cases]
            for _ in range(rounds):
                for case, (job, exchange) in zip(pieces, cases, strict=True):
                    case.append(job.do(exchange=exchange, piece=piece))
            bare = [
                statistics.median(job.do(exchange=exchange, exchanges=1000) for _ in range(5)) if devices > 1 else None
                for (job, exchange) in cases
                for devices in [job.processes * next(j[2] for j in JOBS if j[0] == job.title)]
            ]
        finally:
            for job in jobs:
                job.end()
    found = []
    for (job, exchange), case, bare_us in zip(cases, pieces, bare, strict=True):
        steps = [answer["step_us"] for answer in case]
        ratios = [answer["step_us"] / first["step_us"] for answer, first in zip(case, pieces[0], strict=True)]
        halves = [answer["step_us"] - first["step_us"] / 2 for answer, first in zip(case, pieces[0], strict=True)]
        found.append({
            "title": job.title, "exchange": exchange if bare_us is not None else "-", "step_us": statistics.median(steps),
            "rtf": statistics.median(steps) / 100, "ratio": statistics.median(ratios), "exchange_us": bare_us,
            "over_half_us": statistics.median(halves) if bare_us is not None else None, "last": case[-1],
        })  # fmt: skip
    return found


def table(found: list[dict[str, Any]], scale: float) -> str:
    last = found[0]["last"]
    rows = [
        f"microcircuit, scale {scale:g}: {last['neurons']:,} neurons, {last['synapses']:,} synapses, {last['spikes']:,} spikes; "
        f"one of two devices sends {found[-1]['last']['bytes']:,} bytes per step",
        f"{'':<24}{'exchange':>10}{'step [us]':>11}{'RTF':>8}{'/ 1 thread':>12}{'exchange [us]':>15}{'over half [us]':>16}",
    ]
    for line in found:
        apart = ["-" if line[name] is None else f"{line[name]:.1f}" for name in ("exchange_us", "over_half_us")]
        rows.append(
            f"{line['title']:<24}{line['exchange']:>10}{line['step_us']:>11.1f}{line['rtf']:>8.3f}{line['ratio']:>12.2f}"
            f"{apart[0]:>15}{apart[1]:>16}"
        )
    digests = {line["last"]["digest"] for line in found}
    rows.append(f"digests: {'all equal' if len(digests) == 1 else 'NOT EQUAL'}")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=0.2, help="of the neuron numbers and in-degrees")
    parser.add_argument("--piece", type=float, default=200.0, help="ms of model time, simulated in each round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--mpirun", default=str(Path(sys.executable).with_name("mpirun")), help="of the MPI that mpi4py loads")
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    parser.add_argument("--job", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job is not None:
        work(args.job, args.port, args.scale)
        return
    if shutil.which(args.mpirun) is None:
        parser.error(f"--mpirun {args.mpirun}: there is none. pip install '.[benchmark]', or apt-get install openmpi-bin")
    found = measure(args.scale, args.piece, args.rounds, args.mpirun)
    print(table(found, args.scale))
    if args.out is not None:
        args.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
