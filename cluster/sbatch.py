"""A batch job for SLURM: from options to the text of a script that a person can read, change and submit by hand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol, final

from dist_sim.cluster import batch_values as values
from dist_sim.errors import ParameterError

RESUMABLE = 75
SCRIPT_NAME = "job.sbatch"
LONGEST_LEAD_S = 65535  # of sbatch --signal
# A job's shell reads no ~/.bashrc, in which `conda init` defines what `conda activate` needs.
_CONDA = ('eval "$("${CONDA_EXE:-conda}" shell.bash hook)"',)


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
        nodes: a number, or a range as 2-4; `tasks_per_node`: processes on each; `gpus_per_node`: 4, a100:4, or 0 for CPUs.
        devices: of the whole run, as in `dist-sim run --devices`; None for one per process.
        memory: of a node, as in 64G, or 0 for all of it; None for what SLURM gives.
        cpus_per_task, partition, account, qos, constraint: as in sbatch, or None; `further`: more of its options, as --key=value.
        mpi: by which the processes are to be ranks of an MPI program, as in srun --mpi, or None.
        seeds: for one run per seed, as 1-20 or 1,5,9, with %4 for four at once; or None.
        sweep: (name, values) of parameters, for one run per combination; `at_once`: of these runs, or None for all.
        parameters: name -> text, for --set; `arguments`: of the script.
        run_options: more options of `dist-sim run`, which the run keeps; `attempt_options`: of every attempt.
        modules: to load; `setup`: lines of bash; `conda`: an environment to activate, by name or path; `activate`: a script to
            source, of a virtual environment; `container`: or None. All this comes before the program, in this order.
        program: the words that start dist-sim.
        lead: seconds before the limit at which the run is asked to save.
        restarts: how often the job may be requeued.

    Raises:
        ParameterError: a number out of range, or a name, path or option that is not safe in a script.
    """

    script: Path
    directory: Path
    folder: Path
    name: str
    time: int
    nodes: str = "1"
    tasks_per_node: int = 1
    gpus_per_node: str = "0"
    devices: int | None = None
    cpus_per_task: int | None = None
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    further: tuple[str, ...] = ()
    mpi: str | None = None
    seeds: str | None = None
    sweep: tuple[tuple[str, tuple[str, ...]], ...] = ()
    at_once: int | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    run_options: tuple[str, ...] = ()
    attempt_options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    conda: str | None = None
    activate: Path | None = None
    container: Container | None = None
    program: tuple[str, ...] = ("dist-sim",)
    lead: int = 120
    restarts: int = 100

    def __post_init__(self) -> None:
        for label, value, least in (
            ("--tasks-per-node", self.tasks_per_node, 1), ("--cpus-per-task", self.cpus_per_task, 1),
            ("--devices", self.devices, 1), ("--max-restarts", self.restarts, 0), ("--at-once", self.at_once, 1),
        ):  # fmt: skip
            if value is not None and value < least:
                raise ParameterError(f"{label} {value}: must be at least {least}.")
        if not 0 < self.lead < self.time:
            raise ParameterError(
                f"--lead {self.lead} s: must be above 0 and below the time limit of {self.time} s, which is what is left to save."
            )
        if self.lead > LONGEST_LEAD_S:
            raise ParameterError(f"--lead {self.lead} s: sbatch signals at most {LONGEST_LEAD_S} s before the limit.")
        for label, value in (
            ("--job-name", self.name), ("--partition", self.partition), ("--account", self.account), ("--qos", self.qos),
            ("--constraint", self.constraint), ("--mpi", self.mpi), ("--conda", self.conda),
            *(("--module", module) for module in self.modules),
        ):  # fmt: skip
            if value is not None:
                values.checked(label, value)
        values.path("--out", self.directory)
        values.path("the working directory", self.folder)
        values.setup_lines(self.setup)
        _options(self)  # reads every other value that stands in a line for sbatch
        for processes in self.processes:
            if self.devices is not None and self.devices % processes:
                raise ParameterError(
                    f"--devices {self.devices}: the {processes} processes of --nodes {self.nodes} cannot share them equally. "
                    "Give a multiple of every number of processes that there may be, or leave it out for one per process."
                )
        if self.seeds and self.sweep:
            raise ParameterError("--array-seeds and --sweep: give one of them, as in --sweep seed=1,5,9 --sweep g=4,5.")
        if self.at_once and not self.sweep:
            raise ParameterError(f"--at-once {self.at_once}: there is no --sweep. Of seeds: --array-seeds 1-20%{self.at_once}.")
        words = (str(self.script), str(self.activate or ""), *self.arguments, *self.program)
        options = (*self.run_options, *self.attempt_options)
        mounts = () if self.container is None else (*self.container.srun_options(), *self.container.prefix(gpus=False))
        told = (f"{name}={text}" for name, text in (*self.parameters, *(pair for point in self.points for pair in point)))
        values.printable((*words, *options, *told, *mounts))

    @property
    def processes(self) -> range:
        """How many processes the job may have."""
        least, most = values.node_range(self.nodes)
        return range(least * self.tasks_per_node, most * self.tasks_per_node + 1, self.tasks_per_node)

    @property
    def points(self) -> list[tuple[tuple[str, str], ...]]:
        """The combinations of a sweep, each as (name, text) of its parameters; the last parameter varies fastest."""
        names = [name for name, _ in self.sweep]
        return [tuple(zip(names, texts, strict=True)) for texts in product(*(texts for _, texts in self.sweep))] if names else []

    @property
    def array(self) -> str | None:
        """The numbers of the job's runs as sbatch takes them: seeds, or those of the points from 1; None for one run."""
        if self.points:
            return f"1-{len(self.points)}" + (f"%{self.at_once}" if self.at_once else "")
        return None if self.seeds is None else values.seed_list(self.seeds)

    @property
    def log(self) -> Path:
        """Where SLURM writes what the job prints: %-patterns as in sbatch."""
        return self.directory / ("slurm-%A_%a.log" if self.array else "slurm-%j.log")


def sbatch_script(job: BatchJob) -> str:
    """The script of a job: its first attempt runs, every later one resumes, until the run is done."""
    kind = "seed" if job.seeds else "run"
    run = shlex.quote(str(job.directory)) + (f'/{kind}-"$SLURM_ARRAY_TASK_ID"' if job.array else "")
    # Not SLURM_JOB_ID: for one task of an array that is the number of the whole array.
    job_id = "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID" if job.array else "$SLURM_JOB_ID"
    lines = [
        "#!/bin/bash",
        f"# Written by `dist-sim submit`. By hand: sbatch {shlex.quote(str(job.directory / SCRIPT_NAME))}",
        *(f"#SBATCH {option}" for option in _options(job)),
        "",
        *(f"module load {m}" for m in job.modules),
        *job.setup,
        *(_CONDA if job.conda else ()),
        *([f"conda activate {shlex.quote(job.conda)} || exit"] if job.conda else []),
        *([f"source {shlex.quote(str(job.activate))}"] if job.activate else []),
        f"run={run}",
        f"job={job_id}",
        *_point(job),
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
    values.node_range(job.nodes)
    given = {
        "job-name": job.name,
        "nodes": job.nodes,
        "ntasks-per-node": job.tasks_per_node,
        "gpus-per-node": job.gpus_per_node if values.gpu_count(job.gpus_per_node) else None,
        "cpus-per-task": job.cpus_per_task,
        "mem": None if job.memory is None else values.memory(job.memory),
        "time": limit,
        "partition": job.partition,
        "account": job.account,
        "qos": job.qos,
        "constraint": job.constraint,
        "chdir": job.folder,
        "output": job.log,
        "signal": f"B:USR1@{job.lead}",
        "array": job.array,
    }
    ours = (values.directive(name, value) for name, value in given.items() if value is not None)
    return [*ours, "--requeue", "--open-mode=append", *map(values.further, job.further)]


def _point(job: BatchJob) -> list[str]:
    if not job.points:
        return []
    rows = [" ".join(f"--set {shlex.quote(f'{name}={text}')}" for name, text in point) for point in job.points]
    return [
        'case "$SLURM_ARRAY_TASK_ID" in',
        *(f"    {number}) point=({row}) ;;" for number, row in enumerate(rows, 1)),
        '    *) echo "run $SLURM_ARRAY_TASK_ID: not in this sweep" >&2; exit 64 ;;',
        "esac",
    ]


def _srun_options(job: BatchJob) -> list[str]:
    # A process that has ended must not take the others down while they save, and must not leave them waiting for ever either.
    # The run gets what the lines before it have set, also where sbatch was told to hand nothing on (--export=NONE).
    options = ["--kill-on-bad-exit=0", "--wait=120", "--export=ALL"]
    if len(job.processes) > 1:
        options += [f'--nodes="$SLURM_JOB_NUM_NODES" --ntasks="{_processes(job)}"']
    if job.mpi:
        options.append(f"--mpi={job.mpi}")
    if job.cpus_per_task:
        options.append(f"--cpus-per-task={job.cpus_per_task}")  # srun does not inherit it from sbatch since SLURM 22.05
    return options + [shlex.quote(o) for o in (job.container.srun_options() if job.container else [])]


def _processes(job: BatchJob) -> str:
    """Their number, as bash reads it: of a range of nodes only the job knows."""
    return str(job.processes[0]) if len(job.processes) == 1 else f"$((SLURM_JOB_NUM_NODES * {job.tasks_per_node}))"


def _program(job: BatchJob, command: str) -> str:
    container = job.container.prefix(gpus=values.gpu_count(job.gpus_per_node) > 0) if job.container else []
    quoted = [shlex.quote(word) for word in (*container, *job.program, command)]
    options = ["--devices", _processes(job) if job.devices is None else str(job.devices), *map(shlex.quote, job.attempt_options)]
    if command == "resume":
        return " ".join([*quoted, '"$run"', *options])
    quoted += [shlex.quote(str(job.script)), "--out", '"$run"', *options]
    quoted += [shlex.quote(word) for word in job.run_options]
    quoted += [f"--set {shlex.quote(f'{name}={text}')}" for name, text in job.parameters]
    if job.seeds:
        quoted.append('--set seed="$SLURM_ARRAY_TASK_ID"')
    if job.points:
        quoted.append('"${point[@]}"')
    return " ".join(quoted + (["--", *map(shlex.quote, job.arguments)] if job.arguments else []))
