"""Batch scripts: what a person reads, what bash accepts, and what is refused before it reaches a script."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from dist_sim.__main__ import main
from dist_sim.cluster.batch_values import gpu_count, seconds
from dist_sim.cluster.sbatch import Apptainer, BatchJob, Pyxis, sbatch_script
from dist_sim.errors import ParameterError

GOLDEN = Path(__file__).parent / "golden"
BASE = {
    "script": Path("/home/ana/net.py"), "directory": Path("/scratch/ana/runs/net-1"), "folder": Path("/home/ana"), "name": "net",
    "time": 12 * 3600,
}  # fmt: skip
JOBS = {
    "one_node": {},
    "gpus": {
        "nodes": "4", "tasks_per_node": 8, "gpus_per_node": "8", "devices": 32, "cpus_per_task": 12, "memory": "900G",
        "partition": "gpu-long", "account": "neuro_1", "qos": "high", "constraint": "h200&ib", "modules": ("cuda/12.4", "gcc/13"),
        "activate": Path("/home/ana/my envs/ds/bin/activate"), "lead": 300,
    },
    "mpi": {"nodes": "2", "tasks_per_node": 4, "cpus_per_task": 16, "mpi": "pmi2"},
    "seeds": {
        "seeds": "1-20%4", "parameters": (("scale", "0.5"), ("title", "it's $HOME; `ls`")),
        "arguments": ("--fast", "a b"), "run_options": ("--checkpoint-every", "15min"),
        "attempt_options": ("--stall-seconds", "1800"),
    },
    "sweep": {
        "sweep": (("g", ("4", "4.5")), ("title", ("plain", "it's $HOME; `ls`"))), "at_once": 2, "parameters": (("scale", "0.5"),),
        "arguments": ("--fast",),
    },
    "apptainer": {"gpus_per_node": "1", "container": Apptainer(image="/images/ds 1.sif", mounts=("/scratch", "/data:/in:ro"))},
    "pyxis": {"nodes": "2", "container": Pyxis(image="docker://nvcr.io#nvidia/jax:25.01", mounts=("/x:/x", "/y:/y"))},
    # What centres ask for: each line of it is tried on a real sbatch below.
    "site": {
        "script": Path("/home/ana m/net 2.py"), "directory": Path("/scratch/ana m/runs #2/net's"), "folder": Path("/home/ana m"),
        "nodes": "2-4", "tasks_per_node": 4, "gpus_per_node": "a100:4", "memory": "0", "partition": "short,long",
        "account": "abc@v100", "constraint": "[rack1|rack2]", "seeds": "1,5,9-12%2", "lead": 40,
        "further": ("--mail-type=END,FAIL", "--mail-user=ana@x.org", "--exclusive", "--comment=my run #1"),
        "modules": ("cuda/12.4",), "setup": ("export OMP_NUM_THREADS=8", 'ulimit -s unlimited  # "as told"'), "conda": "snn",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", JOBS)
def test_the_script_is_the_one_that_was_read_and_found_good(name):
    """Set GOLDEN=write in the environment to write the files anew, and read what has changed."""
    text, path = sbatch_script(BatchJob(**(BASE | JOBS[name]))), GOLDEN / f"{name}.sbatch"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True).returncode == 0


# Programs in place of SLURM's. srun "runs" the words it is given by printing them, and ends as FAKE_CODE says.
FAKES = {
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; printf "%s|" "$@"; sleep "$FAKE_WAIT"; exit $FAKE_CODE',
    "scontrol": 'echo "scontrol $*"',
    "scancel": 'echo "scancel $*"',
    "squeue": 'echo "$FAKE_STATE"',
}


@pytest.fixture
def attempt(tmp_path):
    """attempt(code, **options): starts a script with programs in place of SLURM's, whose run ends with `code`."""
    for name, body in FAKES.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)

    def start(
        code: int, wait: str = "0", restarts: int = 0, state: str = "RUNNING", task: str = "3", **options
    ) -> subprocess.Popen:
        (tmp_path / "run").mkdir(exist_ok=True)
        job = tmp_path / "job.sbatch"
        job.write_text(sbatch_script(BatchJob(**(BASE | {"directory": tmp_path / "run"} | options))))
        environment = os.environ | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}", "FAKE_CODE": str(code), "FAKE_WAIT": wait, "SLURM_JOB_ID": "17",
            "SLURM_ARRAY_JOB_ID": "16", "SLURM_ARRAY_TASK_ID": task, "FAKE_STATE": state, "SLURM_RESTART_COUNT": str(restarts),
        }  # fmt: skip
        return subprocess.Popen(["bash", str(job)], env=environment, stdout=subprocess.PIPE, text=True)

    return start


@pytest.mark.parametrize(
    ("code", "restarts", "requeued"), [(0, 0, False), (75, 0, True), (75, 99, True), (75, 100, False), (64, 0, False)]
)
def test_only_a_run_that_can_go_on_is_requeued_and_not_for_ever(attempt, code, restarts, requeued):
    job = attempt(code, restarts=restarts)
    printed = job.communicate(timeout=20)[0]
    assert job.returncode == code and ("scontrol requeue 17" in printed) == requeued


def test_a_job_that_is_being_ended_is_not_requeued(attempt):
    """`scancel JOB` has the run save and leave with 75 as well; it must not come back."""
    job = attempt(75, state="COMPLETING")
    assert "scontrol" not in job.communicate(timeout=20)[0] and job.returncode == 75


def test_one_task_of_an_array_is_requeued_alone(attempt):
    assert "scontrol requeue 16_3" in attempt(75, seeds="1-5").communicate(timeout=20)[0]


def test_a_signal_before_the_limit_asks_the_run_to_save_and_waits_for_it(attempt):
    job = attempt(75, wait="1")
    first = os.read(job.stdout.fileno(), 100).decode()
    assert first.startswith("dist-sim|run|")
    for number in (15, 10, 15):
        job.send_signal(number)
        time.sleep(0.1)
    printed = job.communicate(timeout=20)[0]
    assert job.returncode == 75 and "scancel --signal=TERM 17.0" in printed and "scontrol requeue 17" in printed


def test_words_reach_the_program_as_they_were_given(attempt, tmp_path):
    texts = (("title", 'it\'s $HOME; `ls` "x"'), ("n", "3"))
    job = attempt(0, parameters=texts, arguments=("a b", "$(id)"), seeds="1-5")
    words = job.communicate(timeout=20)[0].split("|")[:-1]
    assert words == [
        "dist-sim", "run", "/home/ana/net.py", "--out", f"{tmp_path}/run/seed-3", "--devices", "1",
        "--set", texts[0][0] + "=" + texts[0][1], "--set", "n=3", "--set", "seed=3", "--", "a b", "$(id)",
    ]  # fmt: skip


def test_an_attempt_after_the_first_resumes(attempt, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    words = attempt(0, devices=4).communicate(timeout=20)[0].split("|")[:-1]
    assert words == ["dist-sim", "resume", f"{tmp_path}/run", "--devices", "4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30", 1800), ("90:30", 5430), ("12:00:00", 43200), ("2-06", 194400), ("1-00:30", 88200), ("1-2:03:04", 93784),
        ("90min", 5400), ("12h", 43200), ("40s", 40),
    ],
)  # fmt: skip
def test_times(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "soon", "-1", "1:2:3:4", "1d", "nan", "00:00:00"])
def test_times_that_are_none(text):
    with pytest.raises(ParameterError, match="--time"):
        seconds(text)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"name": "a b"}, "--job-name"), ({"name": "x\n#SBATCH --uid=0"}, "--job-name"), ({"partition": "gpu;rm"}, "--partition"),
        ({"partition": "a,,b"}, "--partition"), ({"partition": "a b"}, "--partition"), ({"qos": "a,"}, "--qos"),
        ({"account": "../x"}, "--account"), ({"constraint": "a b"}, "--constraint"), ({"memory": "lots"}, "--memory"),
        ({"memory": "0G"}, "--memory"), ({"memory": "1.5T"}, "--memory"), ({"memory": "-1"}, "--memory"),
        ({"directory": Path("/run/%u")}, "--out"), ({"directory": Path('/a"b')}, "--out"),
        ({"directory": Path("/a\nb")}, "--out"),
        ({"folder": Path("a")}, "the working directory"), ({"account": "a b"}, "--account"),
        ({"constraint": "a;b"}, "--constraint"),
        ({"modules": ("cuda; id",)}, "--module"), ({"arguments": ("a\nb",)}, "character"), ({"nodes": "0"}, "--nodes"),
        ({"nodes": "4-2"}, "--nodes"), ({"nodes": "two"}, "--nodes"), ({"nodes": "1-"}, "--nodes"),
        ({"gpus_per_node": "-1"}, "--gpus-per-node"), ({"gpus_per_node": "a100"}, "--gpus-per-node"),
        ({"gpus_per_node": "4:a100"}, "--gpus-per-node"), ({"lead": 43200}, "--lead"), ({"lead": 65536, "time": 99999}, "--lead"),
        ({"seeds": "5-1"}, "--array-seeds"), ({"seeds": "1,"}, "--array-seeds"), ({"seeds": "1-3%0"}, "--array-seeds"),
        ({"nodes": "2-3", "devices": 4}, "cannot share"), ({"setup": ("a\nb",)}, "--setup"),
        ({"setup": ("echo 'x",)}, "is no bash"),
        ({"sweep": (("g", ("a\nb",)),)}, "character"), ({"sweep": (("g", ("1",)),), "seeds": "1-2"}, "give one of them"),
        ({"at_once": 2}, "no --sweep"), ({"sweep": (("g", ("1",)),), "at_once": 0}, "--at-once"),
        ({"conda": "-n"}, "--conda"), ({"conda": "a\nb"}, "--conda"),
        ({"container": Pyxis(image="x\ny")}, "character"), ({"parameters": (("a", "\0"),)}, "character"),
    ],
)  # fmt: skip
def test_what_has_no_place_in_a_script_is_refused(wrong, named):
    with pytest.raises(ParameterError, match=named):
        BatchJob(**(BASE | wrong))


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--mem=4G", "give --memory"), ("--partition=x", "give --partition"), ("--array=1-3", "give --array-seeds"),
        ("--part=x", "--partition itself"), ("--no-req", "--no-requeue itself"),
        ("--ntasks=4", "give --nodes and --tasks-per-node"),
        ("--gpus=4", "give --gpus-per-node"), ("--output=x", "give --out"), ("--chdir=/x", "submit from that folder"),
        ("--wrap=id", "does not submit"), ("--test", "does not submit"), ("-p short", "long form"),
        ("--mail-type END", "long form"),
        ("mail-type=END", "long form"), ("--comment=a\n#SBATCH --uid=0", "long form"), ('--comment=a"b', "long form"),
        ("--comment=", "long form"), ("--comment=a\\", "long form"),
    ],
)  # fmt: skip
def test_an_option_of_sbatch_that_would_break_the_job_is_refused(option, told):
    with pytest.raises(ParameterError, match=told):
        BatchJob(**(BASE | {"further": (option,)}))


def test_gpus_of_several_types_are_counted():
    assert [gpu_count(text) for text in ("0", "4", "a100:4", "a100:2,v100:1")] == [0, 4, 4, 3]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_run_of_a_sweep_has_its_own_parameters_and_directory(attempt, tmp_path, number):
    words = (
        attempt(0, task=str(number), sweep=(("g", ("4", "5")), ("title", ("a b", "$(id)"))))
        .communicate(timeout=20)[0]
        .split("|")[:-1]
    )
    points = [("4", "a b"), ("4", "$(id)"), ("5", "a b"), ("5", "$(id)")]
    if number > len(points):  # of a script that was submitted by hand with another --array
        assert words == []
        return
    g, title = points[number - 1]
    assert words == [
        "dist-sim", "run", "/home/ana/net.py", "--out", f"{tmp_path}/run/run-{number}", "--devices", "1",
        "--set", f"g={g}", "--set", f"title={title}",
    ]  # fmt: skip


def test_devices_follow_the_nodes_that_the_job_got(attempt, monkeypatch):
    """One run on 2 to 4 nodes of 3 processes: as many devices as there are processes, and `srun` starts all of them."""
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "4")
    words = attempt(0, nodes="2-4", tasks_per_node=3).communicate(timeout=20)[0].split("|")[:-1]
    assert words[-2:] == ["--devices", "12"]
    script = sbatch_script(BatchJob(**(BASE | {"nodes": "2-4", "tasks_per_node": 3})))
    assert '--nodes="$SLURM_JOB_NUM_NODES" --ntasks="$((SLURM_JOB_NUM_NODES * 3))"' in script
    assert "--ntasks=" not in sbatch_script(BatchJob(**(BASE | {"nodes": "2-2"})))


def test_setup_lines_come_before_the_program_in_their_order(attempt, tmp_path):
    (tmp_path / "conda").write_text("#!/bin/sh\necho 'conda() { echo \"conda $*\"; }'\n")
    (tmp_path / "conda").chmod(0o755)
    printed = attempt(0, setup=("a=1", 'echo "a is $a"'), conda="my env").communicate(timeout=20)[0]
    assert re.match(r"a is 1\nconda activate my env\ndist-sim\|run", printed)


def test_an_environment_that_cannot_be_activated_ends_the_job(attempt, tmp_path):
    (tmp_path / "conda").write_text("#!/bin/sh\necho 'conda() { return 3; }'\n")
    (tmp_path / "conda").chmod(0o755)
    job = attempt(0, conda="none")
    assert "dist-sim" not in job.communicate(timeout=20)[0] and job.returncode == 3


# ---- the command ----


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("import dist_sim as ds\nds.param('seed', 1)\nds.param('scale', 1.0)\n")
    return "net.py"


def test_a_dry_run_prints_the_script_and_leaves_nothing(script, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["submit", script, "--nodes", "2", "--gpus-per-node", "4", "--time", "2h", "--dry-run", "--set", "scale=2"]) == 0
    printed = capsys.readouterr().out
    for line in ("--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--time=0-02:00:00", "--job-name=net"):
        assert f"#SBATCH {line}\n" in printed
    assert "--devices 8" in printed and "--set scale=2" in printed and os.listdir() == [script]
    assert "--heartbeat" not in printed and "--mtbf" not in printed  # what was not given is not written


# What is given to `submit`, and the line of the script that it becomes.
LINES = {
    ("--partition", "short,long"): "--partition=short,long", ("--account", "abc@v100"): "--account=abc@v100",
    ("--memory", "0"): "--mem=0", ("--memory", "1GB"): "--mem=1G", ("--memory", "512MiB"): "--mem=512M",
    ("--constraint", "[rack1|rack2]"): "--constraint=[rack1|rack2]", ("--gpus-per-node", "a100:2"): "--gpus-per-node=a100:2",
    ("--array-seeds", "1,5,9"): "--array=1,5,9", ("--array-seeds", "1-3,7,10-20:5%2"): "--array=1-3,7,10-20:5%2",
    ("--sweep", "scale=1,2,3"): "--array=1-3",
    ("--sweep", "scale=1,2,3", "--sweep", "seed=4,5", "--at-once", "2"): "--array=1-6%2",
    ("--nodes", "1-2"): "--nodes=1-2", ("--lead", "40s"): "--signal=B:USR1@40",
    ("--out", "a b/run #1"): '--output="{cwd}/a b/run #1/slurm-%j.log"',
    ("--sbatch", "--mail-type=END"): "--mail-type=END", ("--sbatch", "--mail-user=ana@x.org"): "--mail-user=ana@x.org",
    ("--sbatch", "--gres=gpu:a100:1"): "--gres=gpu:a100:1", ("--sbatch", "--exclusive"): "--exclusive",
    ("--sbatch", "--dependency=singleton"): "--dependency=singleton", ("--sbatch", "--exclude=ds2"): "--exclude=ds2",
    ("--sbatch", "--licenses=solver:1"): "--licenses=solver:1", ("--sbatch", "--reservation=tests"): "--reservation=tests",
    ("--sbatch", "--comment=it's #1"): '--comment="it\'s #1"',
}  # fmt: skip


@pytest.mark.parametrize(("options", "line"), LINES.items(), ids=" ".join)
def test_what_batch_systems_need_is_a_line_of_the_script(script, capsys, options, line):
    assert main(["submit", script, "--dry-run", *options]) == 0
    assert f"#SBATCH {line.format(cwd=os.getcwd())}\n" in capsys.readouterr().out


@pytest.mark.slurm
@pytest.mark.parametrize("options", LINES, ids=" ".join)
def test_a_real_sbatch_takes_the_line(slurm, script, capsys, tmp_path, options):
    assert main(["submit", script, "--dry-run", *options]) == 0
    Path("job.sbatch").write_text(capsys.readouterr().out)
    if reserved := "--reservation=tests" in options:
        slurm(*"scontrol create reservation=tests users=root nodes=ds1 starttime=now duration=120 flags=flex".split())
    slurm("sbatch", "--test-only", "job.sbatch", cwd=tmp_path)
    if reserved:
        slurm("scontrol", "delete", "reservation=tests")


def test_a_file_beside_the_script_does_not_stand_in_for_a_module_of_python(script, capsys):
    Path("statistics.py").write_text("raise SystemExit('the wrong one')")
    assert main(["submit", script, "--dry-run"]) == 0
    program = re.findall(r"words=\((.*) run ", capsys.readouterr().out)[0].split()
    done = subprocess.run([*program, "run", "--help", script], capture_output=True, text=True)
    assert done.returncode == 0 and "scale" in done.stdout, done.stderr


def test_options_of_a_run_are_passed_on_to_it_and_those_of_every_attempt_to_all(script, capsys):
    every, once = (
        ["--heartbeat", "60", "--stall-seconds", "1800", "--threads", "8"],
        ["--checkpoint-every", "5min", "--keep-last", "3", "--mtbf", "6h"],
    )
    assert main(["submit", script, "--dry-run", *once, *every]) == 0
    resume, run = re.findall(r"words=\((.*)\)", capsys.readouterr().out)
    assert resume.endswith(" ".join(every)) and run.endswith(" ".join([*every, *once]))
    for command in (resume, run):
        assert set(re.findall(r" (--[a-z-]+)", command)) <= set(
            re.findall(r"--[a-z-]+", " ".join(_help(re.findall(r"dist_sim (\w+)", command)[0], capsys)))
        )


def _help(command, capsys):
    main([command, "--help"])
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "no sbatch"),
        (["--set", "scal=2"], "Did you mean 'scale'"),
        (["--array-seeds", "1-3", "--set", "seed=2"], "--array-seeds sets seed"),
        (["--array-seeds", "three"], "must be A-B"),
        (["--apptainer", "a.sif", "--pyxis", "b"], "give one of them"),
        (["--mount", "/data"], "no container"),
        (["--venv", "nowhere"], "no virtual environment"),
        (["--time", "soon"], "--time soon"),
        (["--mtbf", "soon"], "--mtbf soon"),
        (["--checkpoint-every", "soon"], "--checkpoint-every soon"),
        (["--nodes", "0"], "--nodes 0"),
        (["--sbatch", "--mem=4G"], "give --memory"),
        (["--conda", "a", "--venv", "b"], "give one of them"),
        (["--sweep", "scal=1,2"], "Did you mean 'scale'"),
        (["--sweep", "scale=1,2", "--set", "scale=2"], "--sweep sets scale"),
        (["--sweep", "scale=1,,2"], "must be different values"),
        (["--sweep", "scale=1,1"], "must be different values"),
        (["--sweep", "scale"], "--sweep scale: must be name=value"),
        (["--sweep", "scale=1", "--sweep", "scale=2"], "given twice"),
    ],
)
def test_a_bad_submission_is_refused_with_the_fix(script, capsys, monkeypatch, options, told):
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["submit", script, *options]) == 64
    assert told in capsys.readouterr().err and os.listdir() == [script]
    Path("other.py").write_text("print(1)")
    assert main(["submit", "other.py", "--array-seeds", "1-3", "--dry-run"]) == 64
    assert main(["submit", "nott.py"]) == 64


def test_what_sbatch_refuses_is_passed_on_and_can_be_tried_again(script, capsys, monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpux' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    assert main(["submit", script, "--partition", "gpux", "--out", "out"]) == 64
    assert "invalid partition specified: gpux" in capsys.readouterr().err
    sbatch.write_text("#!/bin/sh\necho '17;cluster'\n")
    assert main(["submit", script, "--out", "out"]) == 0
    assert "job 17 submitted" in capsys.readouterr().out and Path("out/job.sbatch").is_file()
    assert main(["submit", script, "--out", "out"]) == 74
    assert "already holds" in capsys.readouterr().err


def test_an_array_that_is_too_large_is_told_with_a_way_on(script, capsys, monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: Invalid job array specification' >&2\nexit 1\n")
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    assert main(["submit", script, "--array-seeds", "5000-5001", "--out", "out"]) == 64
    assert "--sweep seed=A,B,C" in capsys.readouterr().err
    assert main(["submit", script, "--out", "out"]) == 64
    assert "--sweep" not in capsys.readouterr().err
