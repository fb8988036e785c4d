"""A batch job for SLURM: from options to the text of a script that a person can read, change and submit by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from dist_sim.errors import ParameterError

RESUMABLE = 75
SCRIPT_NAME = "job.sbatch"
# `#SBATCH` lines know no shell quoting, and % begins a pattern in the name of a log: such words are checked, not quoted.
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MODULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*")
_FEATURES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._&|-]*")
_PATH = re.compile(r"/[A-Za-z0-9._+@,=/-]*")
_MEMORY = re.compile(r"[1-9][0-9]*[KMGT]?")
_TIMES = {
    r"(?P<m>\d+)": "minutes",
    r"(?P<m>\d+):(?P<s>\d\d)": "minutes:seconds",
    r"(?P<h>\d+):(?P<m>\d\d):(?P<s>\d\d)": "hours:minutes:seconds",
    r"(?P<d>\d+)-(?P<h>\d\d?)": "days-hours",
    r"(?P<d>\d+)-(?P<h>\d\d?):(?P<m>\d\d)": "days-hours:minutes",
    r"(?P<d>\d+)-(?P<h>\d\d?):(?P<m>\d\d):(?P<s>\d\d)": "days-hours:minutes:seconds",
    r"(?P<m>\d+)min": "90min",
    r"(?P<h>\d+)h": "12h",
}


class Container(Protocol):
    """What a run is wrapped in: options of srun, and words before the program."""

    def srun_options(self) -> list[str]: ...

    def prefix(self, *, gpus: bool) -> list[str]: ...


@final
@dataclass(frozen=True, kw_only=True)
class Apptainer:
    """An Apptainer (Singularity) image, which must hold dist_sim; `mounts` as in --bind."""

    image: str
    mounts: Sequence[str] = ()

    def srun_options(self) -> list[str]:
        return []

    def prefix(self, *, gpus: bool) -> list[str]:
        return ["apptainer", "exec", *(["--nv"] if gpus else []), *(f"--bind={m}" for m in self.mounts), self.image]


@final
@dataclass(frozen=True, kw_only=True)
class Pyxis:
    """An Enroot image through SLURM's pyxis plugin, which must hold dist_sim; `mounts` as in --container-mounts."""

    image: str
    mounts: Sequence[str] = ()

    def srun_options(self) -> list[str]:
        mounts = [f"--container-mounts={','.join(self.mounts)}"] if self.mounts else []
        return [f"--container-image={self.image}", *mounts]

    def prefix(self, *, gpus: bool) -> list[str]:
        return []


@final
@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """A run as a batch job.

    Attributes:
        script, directory, folder: absolute paths of the script, the run directory and the working directory.
        name: of the job.
        time: limit of one attempt in seconds; a run that needs longer is requeued and goes on.
        nodes, tasks_per_node: processes are nodes x tasks_per_node; `gpus_per_node`: 0 for CPUs.
        devices: of the whole run, as in `dist-sim run --devices`.
        cpus_per_task, memory (of a node, as in 64G), partition, account, qos, constraint: as in sbatch, or None.
        mpi: by which the processes are to be ranks of an MPI program, as in srun --mpi, or None.
        seeds: (first, last) for one run per seed, or None; `most_at_once`: of them, or None.
        parameters: name -> text, for --set; `arguments`: of the script.
        run_options: more options of `dist-sim run`, which the run keeps; `attempt_options`: of every attempt.
        modules: to load; `activate`: a script to source, of a virtual environment; `container`: or None.
        program: the words that start dist-sim.
        lead: seconds before the limit at which the run is asked to save.
        restarts: how often the job may be requeued.

    Raises:
        ParameterError: a number out of range, or a name or path that is not safe in a script.
    """

    script: Path
    directory: Path
    folder: Path
    name: str
    time: int
    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    devices: int = 1
    cpus_per_task: int | None = None
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    mpi: str | None = None
    seeds: tuple[int, int] | None = None
    most_at_once: int | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    run_options: tuple[str, ...] = ()
    attempt_options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    activate: Path | None = None
    container: Container | None = None
    program: tuple[str, ...] = ("dist-sim",)
    lead: int = 120
    restarts: int = 100

    def __post_init__(self) -> None:
        for label, value, least in (
            ("--nodes", self.nodes, 1), ("--tasks-per-node", self.tasks_per_node, 1), ("--gpus-per-node", self.gpus_per_node, 0),
            ("--devices", self.devices, 1), ("--cpus-per-task", self.cpus_per_task, 1), ("--max-restarts", self.restarts, 0),
        ):  # fmt: skip
            if value is not None and value < least:
                raise ParameterError(f"{label} {value}: must be at least {least}.")
        if not 0 < self.lead < self.time:
            raise ParameterError(
                f"--lead {self.lead} s: must be above 0 and below the time limit of {self.time} s, which is what is left to save."
            )
        if self.seeds is not None and not 0 <= self.seeds[0] <= self.seeds[1]:
            raise ParameterError(f"--array-seeds {self.seeds[0]}-{self.seeds[1]}: the first must not be above the last.")
        for label, value, allowed, shown in (
            ("--job-name", self.name, _WORD, "letters, digits and . _ -"),
            ("--partition", self.partition, _WORD, "letters, digits and . _ -"),
            ("--account", self.account, _WORD, "letters, digits and . _ -"),
            ("--qos", self.qos, _WORD, "letters, digits and . _ -"),
            ("--constraint", self.constraint, _FEATURES, "letters, digits and . _ - & |"),
            ("--mpi", self.mpi, _WORD, "letters, digits and . _ -"),
            ("--memory", self.memory, _MEMORY, "a whole number and K, M, G or T"),
            ("--out", str(self.directory), _PATH, "an absolute path of letters, digits and . _ + @ , = -"),
            ("the working directory", str(self.folder), _PATH, "an absolute path of letters, digits and . _ + @ , = -"),
            *(("--module", m, _MODULE, "letters, digits and . _ + / -") for m in self.modules),
        ):
            if value is not None and not allowed.fullmatch(value):
                raise ParameterError(f"{label} {value!r}: allowed in a batch script: {shown}.")
        words = (str(self.script), str(self.activate or ""), *self.arguments, *self.program)
        options = (*self.run_options, *self.attempt_options)
        mounts = () if self.container is None else (*self.container.srun_options(), *self.container.prefix(gpus=False))
        for word in (*words, *options, *(f"{name}={text}" for name, text in self.parameters), *mounts):
            if not word.isprintable():
                raise ParameterError(f"{word!r}: has a character that cannot be written in a batch script.")

    @property
    def log(self) -> Path:
        """Where SLURM writes what the job prints: %-patterns as in sbatch."""
        return self.directory / ("slurm-%A_%a.log" if self.seeds else "slurm-%j.log")


def seconds(text: str, label: str = "--time") -> int:
    """A time in one of SLURM's forms, or as 12h or 90min.

    Raises:
        ParameterError: another form, or no time at all.
    """
    for form in _TIMES:
        if match := re.fullmatch(form, text.strip()):
            scale = {"d": 86400, "h": 3600, "m": 60, "s": 1}
            if found := sum(int(number) * scale[unit] for unit, number in match.groupdict().items()):
                return found
    raise ParameterError(f"{label} {text}: must be a time above 0 in one of the forms {', '.join(_TIMES.values())}.")


def sbatch_script(job: BatchJob) -> str:
    """The script of a job: its first attempt runs, every later one resumes, until the run is done."""
    run = f'{shlex.quote(str(job.directory))}/seed-"$SLURM_ARRAY_TASK_ID"' if job.seeds else shlex.quote(str(job.directory))
    # Not SLURM_JOB_ID: for one task of an array that is the number of the whole array.
    job_id = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" if job.seeds else "$SLURM_JOB_ID"
    lines = [
        "#!/bin/bash",
        f"# Written by `dist-sim submit`. By hand: sbatch {job.directory / SCRIPT_NAME}",
        *(f"#SBATCH {option}" for option in _options(job)),
        "",
        f"run={run}",
        f"job={job_id}",
        *(f"module load {m}" for m in job.modules),
        *([f"source {shlex.quote(str(job.activate))}"] if job.activate else []),
        "",
        "# The first attempt begins the run, an attempt after a requeue goes on with it.",
        'if [ -e "$run/config.json" ]; then',
        f"    words=({_program(job, 'resume')})",
        "else",
        f"    words=({_program(job, 'run')})",
        "fi",
        "",
        f"# {job.lead} s before the limit SLURM sends USR1 to this shell, which has the run save and leave with {RESUMABLE}.",
        "# When SLURM takes the nodes back it sends TERM to shell and run alike. Both interrupt `wait`, not the run.",
        "trap 'scancel --signal=TERM \"$job.0\"' USR1",
        "trap : TERM",
        f'srun {" ".join(_srun_options(job))} "${{words[@]}}" &',
        "step=$!",
        'while kill -0 "$step" 2>/dev/null; do wait "$step"; done',
        "trap '' USR1 TERM",
        'wait "$step"  # is over: tells its exit code again',
        "code=$?",
        "",
        "# Only a job that still runs: one that is being ended was cancelled, or SLURM requeues it itself.",
        'state=$(squeue --noheader --job="$job" --format=%T)',
        f'if [ "$code" = {RESUMABLE} ] && [ "$state" = RUNNING ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {job.restarts} ]; then',
        '    scontrol requeue "$job"',
        "fi",
        'exit "$code"',
    ]
    return "\n".join(lines) + "\n"


def _options(job: BatchJob) -> list[str]:
    days, rest = divmod(job.time, 86400)
    limit = f"{days}-{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    given = {
        "job-name": job.name,
        "nodes": job.nodes,
        "ntasks-per-node": job.tasks_per_node,
        "gpus-per-node": job.gpus_per_node or None,
        "cpus-per-task": job.cpus_per_task,
        "mem": job.memory,
        "time": limit,
        "partition": job.partition,
        "account": job.account,
        "qos": job.qos,
        "constraint": job.constraint,
        "chdir": job.folder,
        "output": job.log,
        "signal": f"B:USR1@{job.lead}",
    }
    if job.seeds:
        given["array"] = f"{job.seeds[0]}-{job.seeds[1]}" + (f"%{job.most_at_once}" if job.most_at_once else "")
    return [*(f"--{name}={value}" for name, value in given.items() if value is not None), "--requeue", "--open-mode=append"]


def _srun_options(job: BatchJob) -> list[str]:
    # A process that has ended must not take the others down while they save, and must not leave them waiting for ever either.
    options = ["--kill-on-bad-exit=0", "--wait=120"]
    if job.mpi:
        options.append(f"--mpi={job.mpi}")
    if job.cpus_per_task:
        options.append(f"--cpus-per-task={job.cpus_per_task}")  # srun does not inherit it from sbatch since SLURM 22.05
    return options + [shlex.quote(o) for o in (job.container.srun_options() if job.container else [])]


def _program(job: BatchJob, command: str) -> str:
    words = [*(job.container.prefix(gpus=job.gpus_per_node > 0) if job.container else []), *job.program, command]
    quoted = [shlex.quote(word) for word in words]
    options = ["--devices", str(job.devices), *map(shlex.quote, job.attempt_options)]
    if command == "resume":
        return " ".join([*quoted, '"$run"', *options])
    quoted += [shlex.quote(str(job.script)), "--out", '"$run"', *options]
    quoted += [shlex.quote(word) for word in job.run_options]
    quoted += [f"--set {shlex.quote(f'{name}={text}')}" for name, text in job.parameters]
    if job.seeds:
        quoted.append('--set seed="$SLURM_ARRAY_TASK_ID"')
    return " ".join(quoted + (["--", *map(shlex.quote, job.arguments)] if job.arguments else []))
