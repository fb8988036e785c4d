"""`dist-sim submit FILE.py`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dist_sim.cluster.bootstrap import HEARTBEAT_S
from dist_sim.cluster.sbatch import Apptainer, BatchJob, Container, Pyxis, sbatch_script, seconds
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
    existing,
    policy,
)
from dist_sim.errors import ParameterError
from dist_sim.run.directory import default_directory
from dist_sim.run.session import check_declared, split_assignments


def submit(
    file: File,
    arguments: Arguments = None,
    nodes: Annotated[int, typer.Option(help="Nodes.")] = 1,
    gpus_per_node: Annotated[int, typer.Option(help="GPUs of each node; 0 runs on CPUs.")] = 0,
    tasks_per_node: Annotated[int | None, typer.Option(help="Processes per node.  [default: one per GPU, else one]")] = None,
    time: Annotated[str, typer.Option(help="Limit of one attempt, as 2-00:00:00, 12h or 90min.")] = "1h",
    devices: Annotated[int | None, typer.Option(help="Devices of the run.  [default: one per process]")] = None,
    cpus_per_task: Annotated[int | None, typer.Option(help="Cores of each process.")] = None,
    memory: Annotated[str | None, typer.Option(help="Of each node, as 64G.")] = None,
    partition: Annotated[str | None, typer.Option(help="As in sbatch.")] = None,
    account: Annotated[str | None, typer.Option(help="As in sbatch.")] = None,
    qos: Annotated[str | None, typer.Option(help="As in sbatch.")] = None,
    constraint: Annotated[str | None, typer.Option(help="As in sbatch.")] = None,
    mpi: Annotated[str | None, typer.Option(help="As srun --mpi: pmi2 for MPICH, pmix for Open MPI; for exchange='mpi'.")] = None,
    job_name: Annotated[str | None, typer.Option(help="[default: the script's name]")] = None,
    array_seeds: Annotated[str | None, typer.Option(metavar="A-B[%K]", help="One run per seed, K at a time.")] = None,
    out: Out = None,
    assignments: Assignments = None,
    module: Annotated[list[str] | None, typer.Option(help="A module to load; may be repeated.")] = None,
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
    lead: Annotated[str | None, typer.Option(help="Save this long before the limit.  [default: 2min]")] = None,
    max_restarts: Annotated[int, typer.Option(help="How often the job may be requeued.")] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the batch script; submit nothing.")] = False,
) -> None:
    """Run a script as a SLURM job, which is requeued and resumed until it is done.

    Without --module, --venv or a container the job uses the Python of this command.
    """
    existing(file)
    seeds, most = _seeds(array_seeds)
    policy(checkpoint_every, keep_last, keep_every, mtbf)  # what is no time is refused now, and not by the job
    parameters = _parameters(assignments or [], ["seed"] if seeds else [], file)
    limit = seconds(time)
    tasks = tasks_per_node if tasks_per_node is not None else max(1, gpus_per_node)
    elsewhere = module or venv or apptainer or pyxis
    job = BatchJob(
        script=file.absolute(), directory=(out or default_directory(file)).absolute(), folder=Path.cwd(),
        name=job_name or re.sub(r"[^A-Za-z0-9._-]", "_", file.stem), time=limit, nodes=nodes, tasks_per_node=tasks,
        gpus_per_node=gpus_per_node, devices=nodes * tasks if devices is None else devices, cpus_per_task=cpus_per_task,
        memory=memory, partition=partition, account=account, qos=qos, constraint=constraint, mpi=mpi, seeds=seeds,
        most_at_once=most, parameters=tuple(parameters.items()), arguments=tuple(arguments or ()), modules=tuple(module or ()),
        activate=_activation(venv), container=_container(apptainer, pyxis, mount or []),
        program=("dist-sim",) if elsewhere else (sys.executable, "-m", "dist_sim"),
        run_options=_words(
            (EVERY, checkpoint_every, None), (KEEP_LAST, keep_last, KEPT), (KEEP_EVERY, keep_every, None), (MTBF, mtbf, MTBF_TIME)
        ),
        attempt_options=_words((HEARTBEAT, heartbeat, HEARTBEAT_S), (STALL, f"{stall:g}", f"{STALL_S:g}")),
        lead=min(120, limit // 4) if lead is None else seconds(lead, "--lead"), restarts=max_restarts,
    )  # fmt: skip
    text = sbatch_script(job)
    if dry_run:
        typer.echo(text, nl=False)
        return
    number = hand_in(job, text)
    log = str(job.log).replace("%j", number).replace("%A", number).replace("%a", str((seeds or (0,))[0]))
    typer.echo(f"job {number} submitted, run directory {job.directory}")
    for command, meaning in (
        (f"squeue --job {number}", "its place in the queue"),
        (f"tail -F {log}", "what it says"),
        (f"scontrol show job {number}", "what SLURM knows of it"),
        (f"scancel --batch --signal=USR1 {number}", "save now, requeue, go on"),
        (f"scancel {number}", "end it"),
    ):
        typer.echo(f"  {command:<{max(40, len(str(log)) + 9)}}  {meaning}")


def _words(*options: tuple[str, object, object]) -> tuple[str, ...]:
    """Of options with their values and defaults, the words of those that are not at their default."""
    return tuple(word for name, value, default in options if value != default for word in (name, str(value)))


def _parameters(assignments: list[str], besides: list[str], script: Path) -> dict[str, str]:
    """`--set` texts for a script that declares them, and names that are set besides."""
    parameters = split_assignments(assignments)
    for name in besides:
        if name in parameters:
            raise ParameterError(f"--set {name}={parameters[name]}: --array-seeds sets {name}. Give one of them.")
    check_declared(parameters | dict.fromkeys(besides, "..."), script)
    return parameters


def _seeds(text: str | None) -> tuple[tuple[int, int] | None, int | None]:
    if text is None:
        return None, None
    match = re.fullmatch(r"(\d+)-(\d+)(?:%([1-9]\d*))?", text)
    if match is None:
        raise ParameterError(f"--array-seeds {text}: must be A-B, or A-B%K for K runs at a time, as in 1-10%2.")
    return (int(match[1]), int(match[2])), int(match[3]) if match[3] else None


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
