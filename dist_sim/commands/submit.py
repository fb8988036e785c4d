"""`dist-sim submit FILE.py`."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dist_sim.cluster.batch_values import first_seed, gpu_count, seconds
from dist_sim.cluster.bootstrap import HEARTBEAT_S
from dist_sim.cluster.sbatch import Apptainer, BatchJob, Container, Pyxis, sbatch_script
from dist_sim.cluster.submit import hand_in
from dist_sim.cluster.watch import STALL_S
from dist_sim.commands.options import (
    EVERY,
    HEARTBEAT,
    KEEP_EVERY,
    KEEP_LAST,
    KEPT,
    MTBF,
    MTBF_TIME,
    STALL,
    THREADS,
    Arguments,
    Assignments,
    Every,
    File,
    Heartbeat,
    KeepEvery,
    KeepLast,
    Mtbf,
    Out,
    Stall,
    Threads,
    existing,
    policy,
)
from dist_sim.errors import ParameterError
from dist_sim.run.directory import default_directory
from dist_sim.run.session import check_declared, split_assignments


def submit(
    file: File,
    arguments: Arguments = None,
    nodes: Annotated[str, typer.Option(metavar="N[-M]", help="Nodes; 2-4 for as many of these as there are.")] = "1",
    gpus_per_node: Annotated[
        str, typer.Option(metavar="[TYPE:]N", help="GPUs of each node, as 4 or a100:4; 0 runs on CPUs.")
    ] = "0",
    tasks_per_node: Annotated[int | None, typer.Option(help="Processes per node.  [default: one per GPU, else one]")] = None,
    time: Annotated[str, typer.Option(help="Limit of one attempt, as 2-00:00:00, 12h or 90min.")] = "1h",
    devices: Annotated[int | None, typer.Option(help="Devices of the run.  [default: one per process]")] = None,
    cpus_per_task: Annotated[int | None, typer.Option(help="Cores of each process.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Of each node, as 64G; 0 for all of it.")] = None,
    partition: Annotated[str | None, typer.Option(help="As in sbatch; short,long: whichever starts first.")] = None,
    account: Annotated[str | None, typer.Option(help="As in sbatch.")] = None,
    qos: Annotated[str | None, typer.Option(help="As in sbatch.")] = None,
    constraint: Annotated[str | None, typer.Option(help="As in sbatch, as '[rack1|rack2]'.")] = None,
    sbatch: Annotated[
        list[str] | None, typer.Option(metavar="'--KEY=VALUE'", help="Any other option of sbatch; may be repeated.")
    ] = None,
    mpi: Annotated[str | None, typer.Option(help="As srun --mpi: pmi2 for MPICH, pmix for Open MPI; for exchange='mpi'.")] = None,
    job_name: Annotated[str | None, typer.Option(help="[default: the script's name]")] = None,
    array_seeds: Annotated[
        str | None, typer.Option(metavar="LIST[%K]", help="One run per seed, as 1-20 or 1,5,9; K at a time.")
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=A,B,C", help="One run per value of a parameter; given for several: per combination."),
    ] = None,
    at_once: Annotated[int | None, typer.Option(metavar="K", help="So many runs of a --sweep at a time.")] = None,
    out: Out = None,
    assignments: Assignments = None,
    module: Annotated[list[str] | None, typer.Option(help="A module to load; may be repeated.")] = None,
    setup: Annotated[
        list[str] | None, typer.Option(metavar="LINE", help="A line of bash to run before the program; may be repeated.")
    ] = None,
    conda: Annotated[str | None, typer.Option(metavar="NAME", help="A conda environment to use, by name or path.")] = None,
    venv: Annotated[Path | None, typer.Option(help="A virtual environment to use.")] = None,
    apptainer: Annotated[str | None, typer.Option(metavar="IMAGE", help="Run in this Apptainer image.")] = None,
    pyxis: Annotated[str | None, typer.Option(metavar="IMAGE", help="Run in this image through pyxis and Enroot.")] = None,
    mount: Annotated[list[str] | None, typer.Option(help="A folder that the container sees.")] = None,
    checkpoint_every: Every = None,
    keep_last: KeepLast = KEPT,
    keep_every: KeepEvery = None,
    mtbf: Mtbf = MTBF_TIME,
    heartbeat: Heartbeat = HEARTBEAT_S,
    stall: Stall = STALL_S,
    threads: Threads = None,
    lead: Annotated[
        str | None, typer.Option(metavar="TIME", help="Save so long before the limit: 40s, 5min.  [default: 2min]")
    ] = None,
    max_restarts: Annotated[int, typer.Option(help="How often the job may be requeued.")] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the batch script; submit nothing.")] = False,
) -> None:
    """Run a script as a SLURM job, which is requeued and resumed until it is done.

    Without --module, --setup, --conda, --venv or a container the job uses the Python of this command; with one of them, the
    dist-sim that is then on the PATH. The run works in the folder in which this is called.
    """
    existing(file)
    policy(checkpoint_every, keep_last, keep_every, mtbf)  # what is no time is refused now, and not by the job
    points = _sweep(sweep or [])
    besides = dict.fromkeys(["seed"] if array_seeds else [], "--array-seeds") | {name: "--sweep" for name, _ in points}
    parameters = _parameters(assignments or [], besides, file)
    limit = seconds(time)
    if conda and venv:
        raise ParameterError("--conda and --venv: give one of them.")
    elsewhere = module or setup or conda or venv or apptainer or pyxis
    job = BatchJob(
        script=file.absolute(), directory=(out or default_directory(file)).absolute(), folder=Path.cwd(),
        name=job_name or re.sub(r"[^A-Za-z0-9._-]", "_", file.stem), time=limit, nodes=nodes,
        tasks_per_node=tasks_per_node if tasks_per_node is not None else max(1, gpu_count(gpus_per_node)),
        gpus_per_node=gpus_per_node, devices=devices, cpus_per_task=cpus_per_task, memory=memory, partition=partition,
        account=account, qos=qos, constraint=constraint, further=tuple(sbatch or ()), mpi=mpi,
        seeds=array_seeds, sweep=points, at_once=at_once,
        parameters=tuple(parameters.items()), arguments=tuple(arguments or ()), modules=tuple(module or ()),
        setup=tuple(setup or ()), conda=conda, activate=_activation(venv), container=_container(apptainer, pyxis, mount or []),
        # -P: a file beside the script that is named like a module of Python's own must not take its place.
        program=("dist-sim",) if elsewhere else (sys.executable, "-P", "-m", "dist_sim"),
        run_options=_words(
            (EVERY, checkpoint_every, None), (KEEP_LAST, keep_last, KEPT), (KEEP_EVERY, keep_every, None), (MTBF, mtbf, MTBF_TIME)
        ),
        attempt_options=_words(
            (HEARTBEAT, heartbeat, HEARTBEAT_S), (STALL, f"{stall:g}", f"{STALL_S:g}"), (THREADS, threads, None)
        ),
        lead=min(120, limit // 4) if lead is None else seconds(lead, "--lead"), restarts=max_restarts,
    )  # fmt: skip
    text = sbatch_script(job)
    if dry_run:
        typer.echo(text, nl=False)
        return
    number = hand_in(job, text)
    log = str(job.log).replace("%j", number).replace("%A", number).replace("%a", first_seed(job.array or "0"))
    typer.echo(f"job {number} submitted, run directory {job.directory}")
    for command, meaning in (
        (f"squeue --job {number}", "its place in the queue"),
        (f"tail -F {shlex.quote(log)}", "what it says"),
        (f"dist-sim {'runs' if job.array else 'status'} {shlex.quote(str(job.directory))}", "how its runs stand"),
        (f"scontrol show job {number}", "what SLURM knows of it"),
        (f"scancel --batch --signal=USR1 {number}", "save now, requeue, go on"),
        (f"scancel {number}", "end it"),
    ):
        typer.echo(f"  {command:<{max(40, len(str(log)) + 9)}}  {meaning}")


def _words(*options: tuple[str, object, object]) -> tuple[str, ...]:
    """Of options with their values and defaults, the words of those that are not at their default."""
    return tuple(word for name, value, default in options if value != default for word in (name, str(value)))


def _sweep(texts: list[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """`--sweep` texts as names and values, in their order."""
    points = []
    for name, text in split_assignments(texts, "--sweep").items():
        found = tuple(part.strip() for part in text.split(","))
        if not all(found) or len(set(found)) < len(found):
            raise ParameterError(
                f"--sweep {name}={text}: must be different values with commas between, as in --sweep {name}=1,2,3."
            )
        points.append((name, found))
    return tuple(points)


def _parameters(assignments: list[str], besides: dict[str, str], script: Path) -> dict[str, str]:
    """`--set` texts for a script that declares them, and those that are set `besides`, by options."""
    parameters = split_assignments(assignments)
    for name, option in besides.items():
        if name in parameters:
            raise ParameterError(f"--set {name}={parameters[name]}: {option} sets {name}. Give one of them.")
    check_declared(parameters | dict.fromkeys(besides, "..."), script)
    return parameters


def _activation(venv: Path | None) -> Path | None:
    if venv is None:
        return None
    if not (script := venv.absolute() / "bin" / "activate").is_file():
        raise ParameterError(f"--venv {venv}: is no virtual environment: it has no bin/activate.")
    return script


def _container(apptainer: str | None, pyxis: str | None, mounts: list[str]) -> Container | None:
    if apptainer and pyxis:
        raise ParameterError("--apptainer and --pyxis: give one of them.")
    if mounts and not (apptainer or pyxis):
        raise ParameterError("--mount: there is no container. Give --apptainer IMAGE or --pyxis IMAGE.")
    kinds: dict[str, Any] = {"apptainer": Apptainer, "pyxis": Pyxis}
    for kind, image in (("apptainer", apptainer), ("pyxis", pyxis)):
        if image:
            return kinds[kind](image=image, mounts=tuple(mounts))
    return None
