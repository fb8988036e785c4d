"""Limits of control groups are seen wherever on the path they are set, and a network that exceeds them is warned of."""

from __future__ import annotations

import pytest

from dist_sim.commands.app import main
from dist_sim.forecast import ahead, machines
from dist_sim.run.control_group import Limit, cpu_quota, memory_limit

GIB = 2**30
V1 = "32 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
V1_CPU = "33 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct"
V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
BASE = "sys/fs/cgroup"
NONE = "9223372036854771712"


@pytest.fixture
def tree(tmp_path):
    """Makes a root of files from the text of /proc/self/cgroup, mounts, and files below."""

    def make(groups, mounts, files):
        for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": "\n".join(mounts), **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{text}\n")
        return tmp_path

    return make


# What a process's groups are, what is mounted, the files there; the limit, and which file says so.
TREES = {
    "none": ("0::/", [V2], {}, None, None),
    "own group of version 2": ("0::/job", [V2], {f"{BASE}/job/memory.max": 3 * GIB}, 3 * GIB, "job/memory.max"),
    "parent of version 2": (
        "0::/slurm/job_7/step_0",
        [V2],
        {f"{BASE}/slurm/job_7/step_0/memory.max": "max", f"{BASE}/slurm/job_7/memory.max": 2 * GIB},
        2 * GIB,
        "slurm/job_7/memory.max",
    ),
    "the smallest on the path": (
        "0::/a/b/c",
        [V2],
        {f"{BASE}/a/b/c/memory.max": 5 * GIB, f"{BASE}/a/b/memory.max": GIB, f"{BASE}/a/memory.max": 4 * GIB},
        GIB,
        "a/b/memory.max",
    ),
    "not of a group beside": ("0::/a/b", [V2], {f"{BASE}/a/b/memory.max": "max", f"{BASE}/a/c/memory.max": GIB}, None, None),
    "own group of version 1": (
        "4:memory:/job\n1:cpu:/",
        [V1],
        {f"{BASE}/memory/job/memory.limit_in_bytes": GIB, f"{BASE}/memory/memory.limit_in_bytes": NONE},
        GIB,
        "memory/job/memory.limit_in_bytes",
    ),
    "parent of version 1, unlimited below": (
        "4:memory:/slurm/job\n0::/",
        [V1, V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")],
        {f"{BASE}/memory/slurm/job/memory.limit_in_bytes": NONE, f"{BASE}/memory/slurm/memory.limit_in_bytes": 2 * GIB},
        2 * GIB,
        "memory/slurm/memory.limit_in_bytes",
    ),
    "container of version 1, whose own group is what is mounted": (
        "4:memory:/docker/0a1b",
        [V1.replace(" / ", " /docker/0a1b ")],
        {f"{BASE}/memory/memory.limit_in_bytes": GIB},
        GIB,
        "memory/memory.limit_in_bytes",
    ),
    "above a container, to be seen in its numbers alone": (
        "4:memory:/docker/0a1b",
        [V1.replace(" / ", " /docker/0a1b ")],
        {f"{BASE}/memory/memory.limit_in_bytes": NONE, f"{BASE}/memory/memory.stat": f"cache 7\nhierarchical_memory_limit {GIB}"},
        GIB,
        "memory/memory.stat",
    ),
    "namespace of version 2": ("0::/../../user", [V2], {f"{BASE}/memory.max": GIB}, GIB, "memory.max"),
    "mounted elsewhere": (
        "0::/job", [V2.replace("/sys/fs/cgroup", "/my\\040groups")], {"my groups/job/memory.max": GIB}, GIB, "job/memory.max"
    ),
    "no mounts to be read": ("0::/job", [], {f"{BASE}/job/memory.max": GIB}, GIB, "job/memory.max"),
}  # fmt: skip


@pytest.mark.parametrize("case", TREES)
def test_the_smallest_limit_of_memory_on_the_path_counts(tree, case):
    groups, mounts, files, limit, file = TREES[case]
    found = memory_limit(tree(groups, mounts, files))
    assert (found is None) == (limit is None)
    if found is not None:
        assert found.bytes == limit and str(found.file).endswith(file)


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "quota"),
    [
        ("0::/a/b", [V2], {f"{BASE}/a/b/cpu.max": "max 100000", f"{BASE}/a/cpu.max": "250000 100000"}, 2.5),
        ("0::/a/b", [V2], {f"{BASE}/a/b/cpu.max": "max 100000"}, None),
        (
            "3:cpu,cpuacct:/a",
            [V1_CPU],
            {
                f"{BASE}/cpu,cpuacct/a/cpu.cfs_quota_us": "150000", f"{BASE}/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
                f"{BASE}/cpu,cpuacct/cpu.cfs_quota_us": "-1", f"{BASE}/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            1.5,
        ),
    ],
)  # fmt: skip
def test_the_smallest_quota_of_time_counts(tree, groups, mounts, files, quota):
    assert cpu_quota(tree(groups, mounts, files)) == quota


SCRIPT = """
import brainunit as u
import dist_sim as ds
sim = ds.Simulator()
cells = sim.create("iaf_psc_exp", 6000)
sim.connect(cells, cells, "fixed_indegree", indegree=10, weight=1 * u.pA)
sim.simulate(1 * u.ms)
sim.cont(1 * u.ms)
"""


@pytest.mark.parametrize(("limit", "warned"), [(64 * 2**20, True), (64 * GIB, False)])
def test_a_network_that_does_not_fit_is_warned_of_before_it_is_built(tmp_path, monkeypatch, capsys, limit, warned):
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    found = Limit(limit, tmp_path / "slurm/job/memory.max")
    monkeypatch.setattr(machines, "memory_limit", lambda: found)
    monkeypatch.setattr(ahead, "memory_limit", lambda: found)
    assert main(["run", "script.py", "--out", "out"]) == 0
    said = capsys.readouterr().err
    assert said.count("0.1 GiB is the limit by " + str(found.file)) == int(warned)
    log = (tmp_path / "out" / "log.txt").read_text().splitlines()
    assert [line for line in log if "GiB will be taken" in line] == (log[1:2] if warned else [])
