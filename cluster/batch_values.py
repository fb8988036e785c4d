"""What the options of a batch job may be: each value is checked, and brought into the form in which SLURM takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dist_sim.errors import ParameterError

# `#SBATCH` lines know no shell quoting: what stands in them is checked, and where SLURM would take it apart, in double quotes.
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ALLOWED = {
    "--job-name": (_WORD, "letters, digits and . _ -"),
    "--partition": (rf"{_WORD}(?:,{_WORD})*", "letters, digits and . _ -, several with commas, as in short,long"),
    "--account": (r"[A-Za-z0-9][A-Za-z0-9._@+-]*", "letters, digits and . _ - @ +"),
    "--qos": (rf"{_WORD}(?:,{_WORD})*", "letters, digits and . _ -, several with commas"),
    "--constraint": (r"[A-Za-z0-9(\[][A-Za-z0-9._,:=&|*()\[\]-]*", "letters, digits and . _ - , : = & | * ( ) [ ]"),
    "--mpi": (_WORD, "letters, digits and . _ -"),
    "--module": (r"[A-Za-z0-9][A-Za-z0-9._+/-]*", "letters, digits and . _ + / -"),
    "--conda": (r"[^-].*", "the name of an environment, or its path"),
}  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z0-9_./:,=@%+&|*()\[\]-]+")
_TIMES = {
    r"(?P<m>\d+)": "minutes",
    r"(?P<m>\d+):(?P<s>\d\d)": "minutes:seconds",
    r"(?P<h>\d+):(?P<m>\d\d):(?P<s>\d\d)": "hours:minutes:seconds",
    r"(?P<d>\d+)-(?P<h>\d\d?)": "days-hours",
    r"(?P<d>\d+)-(?P<h>\d\d?):(?P<m>\d\d)": "days-hours:minutes",
    r"(?P<d>\d+)-(?P<h>\d\d?):(?P<m>\d\d):(?P<s>\d\d)": "days-hours:minutes:seconds",
    r"(?P<s>\d+)s": "40s",
    r"(?P<m>\d+)min": "90min",
    r"(?P<h>\d+)h": "12h",
}
# What a job of ours sets itself, and what to say instead.
_OURS = {
    "account": "give --account",
    "array": "give --array-seeds or --sweep",
    "chdir": "submit from that folder, in which the run then works",
    "constraint": "give --constraint",
    "cpus-per-task": "give --cpus-per-task",
    "gpus": "give --gpus-per-node",
    "gpus-per-node": "give --gpus-per-node",
    "job-name": "give --job-name",
    "mem": "give --memory",
    "no-requeue": "give --max-restarts 0",
    "nodes": "give --nodes",
    "ntasks": "give --nodes and --tasks-per-node",
    "ntasks-per-node": "give --tasks-per-node",
    "open-mode": "leave it out: all attempts write to one log",
    "output": "give --out, in which the log lies",
    "partition": "give --partition",
    "qos": "give --qos",
    "requeue": "give --max-restarts",
    "signal": "give --lead",
    "time": "give --time",
}
_NO_JOB = ("help", "test-only", "usage", "version", "wait", "wrap")


def checked(label: str, value: str) -> str:
    """A value of one of the options above, in the letters that it may have.

    Raises:
        ParameterError: it has others.
    """
    allowed, shown = _ALLOWED[label]
    if not re.fullmatch(allowed, value) or not value.isprintable():
        raise ParameterError(f"{label} {value!r}: allowed in a batch script: {shown}.")
    return value


def printable(words: Sequence[str]) -> None:
    """Words that stand in the part of a script that bash reads, where they are quoted.

    Raises:
        ParameterError: a newline, or another character that no line can hold.
    """
    for word in words:
        if not word.isprintable():
            raise ParameterError(f"{word!r}: has a character that cannot be written in a batch script.")


def path(label: str, value: Path) -> Path:
    """A path in a `#SBATCH` line, where % begins a pattern, and quotes and backslashes are SLURM's own.

    Raises:
        ParameterError: it has one of these, or is relative.
    """
    if not value.is_absolute() or not str(value).isprintable() or set('"\\%') & set(str(value)):
        raise ParameterError(f'{label} {str(value)!r}: must be an absolute path without " \\ % and newlines in a batch script.')
    return value


def directive(name: str, value: object = None) -> str:
    """`--name=value` for a `#SBATCH` line. SLURM ends a value at a space and a line at #, but for those in double quotes."""
    if value is None:
        return f"--{name}"
    return f"--{name}={value}" if _PLAIN.fullmatch(str(value)) else f'--{name}="{value}"'


def seconds(text: str, label: str = "--time") -> int:
    """A time in one of SLURM's forms, or as 12h, 90min or 40s.

    Raises:
        ParameterError: another form, or no time at all.
    """
    for form in _TIMES:
        if match := re.fullmatch(form, text.strip()):
            scale = {"d": 86400, "h": 3600, "m": 60, "s": 1}
            if found := sum(int(number) * scale[unit] for unit, number in match.groupdict().items()):
                return found
    raise ParameterError(f"{label} {text}: must be a time above 0 in one of the forms {', '.join(_TIMES.values())}.")


def memory(text: str) -> str:
    """Memory of a node as SLURM takes it: 64G for 64G, 64GB and 64GiB; 0 for all that the node has.

    Raises:
        ParameterError: another form.
    """
    match = re.fullmatch(r"([1-9]\d*)(?:([KMGT])(?:i?B)?)?|0", text, re.IGNORECASE | re.ASCII)
    if match is None:
        raise ParameterError(f"--memory {text!r}: must be a whole number and K, M, G or T, as in 64G or 64GB; or 0 for all.")
    return f"{match[1]}{(match[2] or '').upper()}" if match[1] else "0"


def gpu_count(text: str) -> int:
    """How many GPUs of each node `--gpus-per-node` asks for: 4, a100:4, or a100:2,v100:1 for 3.

    Raises:
        ParameterError: another form.
    """
    if re.fullmatch(rf"\d+|{_WORD}:\d+(?:,{_WORD}:\d+)*", text, re.ASCII) is None:
        raise ParameterError(f"--gpus-per-node {text!r}: must be a number, or TYPE:number, as in 4 or a100:4.")
    return sum(int(part.rpartition(":")[2]) for part in text.split(","))


def node_range(text: str) -> tuple[int, int]:
    """The least and the largest number of nodes: 4, or 2-4 for as many of them as there are.

    Raises:
        ParameterError: another form, no node, or a range that ends before it begins.
    """
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        raise ParameterError(f"--nodes {text}: must be a number of at least 1, or a range of them, as in 4 or 2-4.")
    return least, most


def seed_list(text: str) -> str:
    """Seeds as the numbers of an array: 1-10, 1,5,9, 1-9:2 for every second one, each with %K for K at a time.

    Raises:
        ParameterError: another form, or a range that ends before it begins.
    """
    part = r"\d+(?:-\d+(?::[1-9]\d*)?)?"
    found = re.fullmatch(rf"{part}(?:,{part})*(?:%[1-9]\d*)?", text, re.ASCII)
    if found is None or any(int(first) > int(last) for first, last in re.findall(r"(\d+)-(\d+)", text)):
        raise ParameterError(
            f"--array-seeds {text}: must be A-B, A not above B, or a list, as in 1-10 or 1,5,9; with %K for K runs at a time."
        )
    return text


def first_seed(text: str) -> str:
    """The first of a list of seeds."""
    return re.split(r"[-,:%]", text)[0]


def further(text: str) -> str:
    """An option of sbatch that dist-sim has no name for, as a `#SBATCH` line: `--mail-type=END`, `--exclusive`.

    Raises:
        ParameterError: no option; one that a job of ours sets itself, also abbreviated; one that submits no job; a text that
            would end its line or quotes.
    """
    match = re.fullmatch(r"--([a-z][a-z0-9-]*)(?:=(.+))?", text)
    if match is None or not text.isprintable() or set('"\\') & set(text):
        raise ParameterError(
            f'--sbatch {text!r}: must be one option of sbatch in its long form, --key=value or --key, without " \\ and newlines.'
        )
    name = match[1]
    # sbatch takes the beginning of a name for the whole of it.
    for own, instead in _OURS.items():
        if own == name or (own.startswith(name) and name not in _OURS):
            raise ParameterError(f"--sbatch {text}: dist-sim sets {'this' if own == name else f'--{own}'} itself; {instead}.")
    if any(other.startswith(name) for other in _NO_JOB):
        raise ParameterError(f"--sbatch {text}: with this sbatch does not submit the job. Leave it out.")
    return directive(name, match[2])


def setup_lines(lines: Sequence[str]) -> None:
    """Lines of bash, which stand in the script as they are.

    Raises:
        ParameterError: a newline or a tabulator in one, or together they are no bash.
    """
    for line in lines:
        if not line.isprintable():
            raise ParameterError(f"--setup {line!r}: must be one line without tabulators. Give --setup once per line.")
    if lines and (bash := shutil.which("bash")):
        done = subprocess.run([bash, "-n"], input="\n".join(lines) + "\n", capture_output=True, text=True)
        if done.returncode != 0 or done.stderr:
            raise ParameterError(f"--setup {' ; '.join(lines)}: is no bash: {' '.join(done.stderr.split())}")
