"""`dist-sim submit`: a script of the user as a batch job of SLURM, requeued and resumed until it is done."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from dist_sim.cluster.sbatch import SCRIPT_NAME, Apptainer, BatchJob, Container, Pyxis, sbatch_script, seconds
from dist_sim.errors import DeviceError, OutputError, ParameterError, UnknownNameError

_ANSWER_S = 60.0  # of a busy SLURM controller


def submit_command(
    *,
    default_directory: Callable[[Path], Path],
    read_parameters: Callable[[list[str], list[str], Path], Mapping[str, str]],
) -> Callable[..., None]:
    """The command, for an application of typer.

    Args:
        default_directory: a new run directory for a script.
        read_parameters: from `name=value` texts, names that will be set besides and the script to a dictionary; raises where the
            script does not declare one.
    """

    def submit(
        file: Annotated[Path, typer.Argument(metavar="FILE.py", help="The script.", show_default=False)],
        arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", help="For the script's sys.argv.")] = None,
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
        job_name: Annotated[str | None, typer.Option(help="[default: the script's name]")] = None,
        array_seeds: Annotated[str | None, typer.Option(metavar="A-B[%K]", help="One run per seed, K at a time.")] = None,
        out: Annotated[Path | None, typer.Option(help="The run directory.  [default: runs/FILE-<date-time>]")] = None,
        assignments: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter.")] = None,
        module: Annotated[list[str] | None, typer.Option(help="A module to load; may be repeated.")] = None,
        venv: Annotated[Path | None, typer.Option(help="A virtual environment to use.")] = None,
        apptainer: Annotated[str | None, typer.Option(metavar="IMAGE", help="Run in this Apptainer image.")] = None,
        pyxis: Annotated[str | None, typer.Option(metavar="IMAGE", help="Run in this image through pyxis and Enroot.")] = None,
        mount: Annotated[list[str] | None, typer.Option(help="A folder that the container sees.")] = None,
        checkpoint_every: Annotated[str | None, typer.Option(metavar="TIME", help="As in `dist-sim run`.")] = None,
        lead: Annotated[str | None, typer.Option(help="Save this long before the limit.  [default: 2min]")] = None,
        max_restarts: Annotated[int, typer.Option(help="How often the job may be requeued.")] = 100,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the batch script; submit nothing.")] = False,
    ) -> None:
        """Run a script as a SLURM job, which is requeued and resumed until it is done.

        Without --module, --venv or a container the job uses the Python of this command.
        """
        if not file.is_file():
            raise UnknownNameError("script", str(file), [str(path) for path in file.parent.glob("*.py")])
        seeds, most = _seeds(array_seeds)
        parameters = read_parameters(assignments or [], ["seed"] if seeds else [], file)
        limit = seconds(time)
        tasks = tasks_per_node if tasks_per_node is not None else max(1, gpus_per_node)
        elsewhere = module or venv or apptainer or pyxis
        job = BatchJob(
            script=file.absolute(), directory=(out or default_directory(file)).absolute(), folder=Path.cwd(),
            name=job_name or re.sub(r"[^A-Za-z0-9._-]", "_", file.stem), time=limit, nodes=nodes, tasks_per_node=tasks,
            gpus_per_node=gpus_per_node, devices=nodes * tasks if devices is None else devices, cpus_per_task=cpus_per_task,
            memory=memory, partition=partition, account=account, qos=qos, constraint=constraint, seeds=seeds, most_at_once=most,
            parameters=tuple(parameters.items()), arguments=tuple(arguments or ()), modules=tuple(module or ()),
            activate=_activation(venv), container=_container(apptainer, pyxis, mount or []),
            program=("dist-sim",) if elsewhere else (sys.executable, "-m", "dist_sim"),
            run_options=("--checkpoint-every", checkpoint_every) if checkpoint_every else (),
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

    return submit


def hand_in(job: BatchJob, text: str) -> str:
    """Writes the script into the run directory and submits it; returns the number of the job.

    Raises:
        DeviceError: no SLURM here, or it refuses the job. OutputError: the run directory cannot be written or is taken.
    """
    if (sbatch := shutil.which("sbatch")) is None:
        raise DeviceError(
            "submit: there is no sbatch on this machine's PATH. Run this on a login node of the cluster (perhaps after "
            "`module load slurm`), or print the script with --dry-run and submit it there."
        )
    path = job.directory / SCRIPT_NAME
    try:
        job.directory.mkdir(parents=True, exist_ok=True)
        if taken := [name for name in ("provenance.json", SCRIPT_NAME) if (job.directory / name).exists()]:
            raise OutputError(f"--out {job.directory}: already holds a run or a job ({', '.join(taken)}). Give another --out.")
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"--out {job.directory}: cannot be written: {error.strerror}.") from error
    try:
        done = subprocess.run([sbatch, "--parsable", str(path)], capture_output=True, text=True, timeout=_ANSWER_S)
    except subprocess.TimeoutExpired:
        raise DeviceError(
            f"submit: sbatch has not answered within {_ANSWER_S:.0f} s, so the job may or may not be in the queue. "
            f"See: squeue --me. The script is {path}."
        ) from None
    if done.returncode != 0:
        path.unlink()
        raise DeviceError(f"submit: sbatch refuses the job: {' '.join(done.stderr.split())}")
    return done.stdout.strip().split(";")[0]


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
