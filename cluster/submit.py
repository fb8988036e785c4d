"""Handing a batch job in to SLURM."""

from __future__ import annotations

import shutil
import subprocess

from dist_sim.cluster.sbatch import SCRIPT_NAME, BatchJob
from dist_sim.errors import DeviceError, OutputError

_ANSWER_S = 60.0  # of a busy SLURM controller
_ARRAY = (
    ". What numbers an array may have: scontrol show config | grep MaxArraySize. Larger seeds: --sweep seed=A,B,C; "
    "more runs: several jobs, each with a part of them."
)


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
        # A seed is a number of the array, which may not be as large as a seed may be.
        hint = _ARRAY if job.array and "array" in done.stderr else ""
        raise DeviceError(f"submit: sbatch refuses the job: {' '.join(done.stderr.split())}{hint}")
    return done.stdout.strip().split(";")[0]
