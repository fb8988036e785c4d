"""The same microcircuit in dist_sim and in NEST 3.10, one after the other on this machine.

    python examples/benchmarks/microcircuit_vs_nest.py --scale 0.2 --t-sim 1000 --drives dc,poisson --out figures.json

Each simulator runs in a process of its own on all cores. Both build the circuit, simulate a warm-up, and then the time that is
reported: no build, no compilation and no first call is in it. Both record all spikes. What dist_sim compiles (its kernels once
per machine, its step once per run) is a line of its own and in no other. NEST's threads spin at their barriers, so that on a
machine that does other work one of them can be faster than all: NEST runs with each of --threads, and the fastest run counts.

Synaptic events are those between neurons; external Poisson input is in the real-time factor, and not in the number of events.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DRIVES = ("dc", "poisson")
LINES = (  # of the table: title, key, digits, whether a ratio says something
    ("build [s]", "build_s", 2, True),
    ("compile kernels + step [s]", "compile_s", 2, False),
    ("memory per synapse, process [bytes]", "process_bytes_per_synapse", 1, True),
    ("memory per synapse, table [bytes]", "table_bytes_per_synapse", 2, False),
    ("real-time factor", "rtf", 3, True),
    ("ns per synaptic event", "ns_per_event", 1, True),
    ("mean rate [Hz]", "rate", 3, False),
)


def dist_sim_run(*, scale: float, drive: str, t_sim: float, warm_up: float, devices: int, seed: int) -> dict[str, Any]:
    """Builds and times the circuit in this process; times in s."""
    sys.path.insert(0, str(HERE.parent))
    import brainunit as u
    from microcircuit import build, scaled_circuit

    import dist_sim as ds
    from dist_sim.kernels import backend
    from dist_sim.run.summary import peak_rss_bytes

    sim = ds.Simulator(dt=0.1 * u.ms, seed=seed, devices=devices)
    begin = time.perf_counter()
    if sim.backend == "native":
        backend.library()
    kernels_s = time.perf_counter() - begin
    load, empty_bytes = os.getloadavg()[0], peak_rss_bytes()
    begin = time.perf_counter()
    _, recorder = build(sim, scaled_circuit(scale, drive), "optimized")
    built = sim.simulate(0 * u.ms).summary
    compile_s = built["phases"]["compile"]
    build_s = time.perf_counter() - begin - compile_s
    built_bytes = peak_rss_bytes()
    before = sim.simulate(warm_up * u.ms).summary
    after = sim.cont(t_sim * u.ms).summary
    wall, events = after["wall_s"] - before["wall_s"], after["events"] - before["events"]
    spikes = after["spikes"] - before["spikes"]
    return {
        "load_before": load, "threads": len(os.sched_getaffinity(0)), "devices": devices, "backend": sim.backend,
        "neurons": after["neurons"], "synapses": after["synapses"], "build_s": build_s, "compile_s": kernels_s + compile_s,
        "warm_up_s": before["wall_s"], "simulate_s": wall, "rtf": wall / (t_sim * 1e-3), "spikes": spikes, "events": events,
        "rate": spikes / (after["neurons"] * t_sim * 1e-3), "ns_per_event": wall / max(events, 1) * 1e9,
        "table_bytes_per_synapse": after["bytes_per_synapse"], "peak_rss_bytes": peak_rss_bytes(),
        "process_bytes_per_synapse": (built_bytes - empty_bytes) / after["synapses"], "digest": after["digest"],
        "versions": after["versions"],
    }  # fmt: skip


def nest_run(*, scale: float, drive: str, t_sim: float, warm_up: float, threads: list[int], seed: int) -> dict[str, Any]:
    """Builds and times the circuit in NEST, with each number of threads; the figures of the fastest run."""
    options = dict(scale=scale, drive=drive, t_sim=t_sim, warm_up=warm_up, seed=seed)
    runs = [_in_subprocess(HERE / "nest_microcircuit.py", {**options, "threads": n}) for n in threads]
    found = min(runs, key=lambda run: run["rtf"])
    found["rtf_by_threads"] = {run["threads"]: run["rtf"] for run in runs}
    found["process_bytes_per_synapse"] = found.pop("bytes_per_synapse")
    return found | {"rate": found["spikes"] / (found["neurons"] * t_sim * 1e-3)}


def _in_subprocess(script: Path, options: dict[str, Any], *flags: str) -> dict[str, Any]:
    """Runs a script and reads the JSON of its last line."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    done = subprocess.run([sys.executable, str(script), *flags, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script.name} {' '.join(arguments)} failed:\n{done.stderr or done.stdout}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(drive: str, scale: float, ours: dict[str, Any], nest: dict[str, Any]) -> str:
    """The figures of one drive, one line each."""
    size = f"{ours['neurons']:,} neurons, {ours['synapses']:,} synapses"
    head = f"{drive}, scale {scale:g}: {size}; threads: dist_sim {ours['threads']}, NEST {nest['threads']}"
    rows = [head, f"{'':<38}{'dist_sim':>10}{'NEST ' + nest['nest']:>13}{'NEST / dist_sim':>17}"]
    for title, key, digits, compared in LINES:
        known = [key in found and not (key == "ns_per_event" and found["spikes"] == 0) for found in (ours, nest)]
        values = [f"{found[key]:.{digits}f}" if there else "-" for found, there in zip((ours, nest), known, strict=True)]
        ratio = f"{nest[key] / ours[key]:.1f}" if compared and all(known) and ours[key] > 0 else ""
        rows.append(f"{title:<38}{values[0]:>10}{values[1]:>13}{ratio:>17}".rstrip())
    return "\n".join(rows)


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=0.2, help="of the neuron numbers and in-degrees")
    parser.add_argument("--t-sim", type=float, default=1000.0, help="ms, timed")
    parser.add_argument("--warm-up", type=float, default=500.0, help="ms, simulated before and not timed")
    parser.add_argument("--drives", default="dc,poisson", help="dc, poisson or both")
    parser.add_argument("--devices", type=int, default=1, help="of dist_sim; one CPU device uses all cores")
    parser.add_argument("--threads", default=f"1,{cores}" if cores > 1 else "1", help="of NEST, one run for each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    parser.add_argument("--dist-sim-only", action="store_true", help="print dist_sim's figures for one drive as JSON")
    args = parser.parse_args()
    drives = [drive.strip() for drive in args.drives.split(",")]
    if any(drive not in DRIVES for drive in drives):
        parser.error(f"--drives {args.drives}: known are {', '.join(DRIVES)}")
    threads = [int(number) for number in args.threads.split(",")]
    common = dict(scale=args.scale, t_sim=args.t_sim, warm_up=args.warm_up, seed=args.seed)
    if args.dist_sim_only:
        print(json.dumps(dist_sim_run(**common, drive=drives[0], devices=args.devices)))
        return
    report: dict[str, Any] = {"settings": common, "cores": cores, "drives": {}}
    for drive in drives:
        ours = _in_subprocess(Path(__file__), {**common, "drives": drive, "devices": args.devices}, "--dist-sim-only")
        nest = nest_run(**common, drive=drive, threads=threads)
        report["drives"][drive] = {"dist_sim": ours, "nest": nest}
        print(table(drive, args.scale, ours, nest), end="\n\n", flush=True)
        for name, found in (("dist_sim", ours), ("NEST", nest)):
            if found["load_before"] > cores / 2:
                load = f"a load of {found['load_before']:.1f} before {name} began"
                print(f"The machine had {load}: these times are not to be trusted.\n")
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
