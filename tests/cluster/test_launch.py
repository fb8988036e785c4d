"""What launchers say in the environment, and what is made of it. The environments are as captured (without what nobody reads)."""

import os

import pytest

from dist_sim.cluster import board
from dist_sim.cluster.bootstrap import visible_devices
from dist_sim.cluster.cores import share_cores, shares
from dist_sim.cluster.launch import Launch, detect, first_node
from dist_sim.errors import DeviceError, ParameterError
from dist_sim.partition.mesh import neuron_mesh

BATCH = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": "vn[1-2]"}
# srun -N2 -n4 (SLURM 22.05), third task.
SRUN = BATCH | {
    "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NODELIST": "vn[1-2]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_PROCID": "2", "SLURM_LOCALID": "0",
}  # fmt: skip
# srun --mpi=pmi2 sets the variables of MPICH as well.
PMI2 = SRUN | {"PMI_RANK": "2", "PMI_SIZE": "4", "PMI_FD": "11", "PMI_JOBID": "4711.0"}
# mpirun -n 2 of MPICH 5, second rank; and inside a job, whose own step has one task per node.
MPICH = {"PMI_SIZE": "2", "PMI_RANK": "1", "MPI_LOCALNRANKS": "2", "MPI_LOCALRANKID": "1", "PMI_FD": "8"}
MPICH_IN_JOB = SRUN | MPICH | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}
# mpirun -n 3 of Open MPI 4.1.
OPENMPI = {
    "OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "2",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "3", "OMPI_MCA_orte_hnp_uri": "1853095936.0;tcp://10.0.0.1:50000",
}  # fmt: skip
TPU = {"TPU_WORKER_HOSTNAMES": "t-0,t-1,t-2,t-3", "TPU_WORKER_ID": "3", "TPU_ACCELERATOR_TYPE": "v5litepod-16"}
TPU_SLICES = TPU | {"MEGASCALE_NUM_SLICES": "2", "MEGASCALE_SLICE_ID": "1", "MEGASCALE_COORDINATOR_ADDRESS": "m-0:8080"}
ADDRESSES = {
    "DIST_SIM_COORDINATOR": "10.0.0.1:40000", "DIST_SIM_PROCESSES": "3", "DIST_SIM_PROCESS": "2", "DIST_SIM_RUN": "a"
}  # fmt: skip

ON_SLURM = Launch(
    launcher="slurm",
    processes=4,
    process=2,
    local_process=0,
    local_processes=2,
    coordinator="vn1:42573",
    nodes=("vn[1-2]",),
    run="step 4711.0",
)


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, Launch(launcher="single")),
        (SRUN, ON_SLURM),
        (PMI2, ON_SLURM),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1"}, Launch(launcher="single")),
        (MPICH, Launch(launcher="mpich", processes=2, process=1, local_process=1, local_processes=2)),
        (MPICH_IN_JOB, Launch(launcher="mpich", processes=2, process=1, local_process=1, local_processes=2)),
        (OPENMPI, Launch(launcher="openmpi", processes=3, process=2, local_process=2, local_processes=3)),
        (BATCH | OPENMPI, Launch(launcher="openmpi", processes=3, process=2, local_process=2, local_processes=3)),
        (
            TPU,
            Launch(
                launcher="tpu", processes=4, process=3, local_process=0, local_processes=1, coordinator="t-0:8482",
                nodes=("t-0", "t-1", "t-2", "t-3"),
            ),
        ),
        (
            TPU_SLICES,
            Launch(
                launcher="tpu", processes=8, process=7, local_process=0, local_processes=1, coordinator="m-0:8482",
                nodes=("t-0", "t-1", "t-2", "t-3"),
            ),
        ),
        (SRUN | ADDRESSES, Launch(launcher="explicit", processes=3, process=2, coordinator="10.0.0.1:40000", run="a")),
        (ADDRESSES | {"DIST_SIM_PROCESSES": "1", "DIST_SIM_PROCESS": "0"}, Launch(launcher="single")),
    ],
    ids=[
        "nothing", "srun", "srun pmi2", "srun of one task", "mpich", "mpich in a job", "openmpi", "openmpi in a job", "tpu",
        "tpu slices", "addresses", "one address",
    ],
)  # fmt: skip
def test_a_launcher_is_recognised(environment, wanted):
    assert detect(environment) == wanted


def test_flags_go_before_the_environment():
    found = detect(SRUN | ADDRESSES, coordinator="h:1", processes=2, process=1)
    assert (found.coordinator, found.processes, found.process) == ("h:1", 2, 1)


def test_a_job_with_tasks_that_were_not_started_is_remarked():
    found = detect(BATCH)
    assert found.launcher == "single" and "srun dist-sim run" in found.note and "4 tasks" in found.note


def test_two_steps_of_a_job_have_ports_of_their_own():
    ports = [detect(SRUN | {"SLURM_STEP_ID": step}).coordinator for step in ("0", "1")]
    assert ports[0] != ports[1]
    assert detect(SRUN | {"JAX_COORDINATOR_PORT": "50001"}).coordinator == "vn1:50001"


@pytest.mark.parametrize(
    ("environment", "flags", "message"),
    [
        ({}, dict(coordinator="h:1"), "--processes and --process are missing"),
        ({"DIST_SIM_PROCESSES": "2"}, dict(process=1), "--coordinator is missing"),
        ({}, dict(coordinator="h:1", processes=2, process=2), "from 0 to --processes - 1"),
        ({}, dict(coordinator="h", processes=2, process=1), "HOST:PORT"),
        ({}, dict(coordinator=":7", processes=2, process=1), "HOST:PORT"),
        ({"DIST_SIM_COORDINATOR": "h:1", "DIST_SIM_PROCESSES": "two", "DIST_SIM_PROCESS": "0"}, {}, "whole number"),
    ],
)
def test_half_an_address_is_refused(environment, flags, message):
    with pytest.raises(ParameterError, match=message):
        detect(environment, **flags)


def test_a_worker_that_is_not_among_its_hosts_is_refused():
    with pytest.raises(DeviceError, match="names 4 workers"):
        detect(TPU | {"TPU_WORKER_ID": "4"})


@pytest.mark.parametrize(
    ("nodelist", "first"),
    [
        ("vn1", "vn1"), ("vn1,vn2", "vn1"), ("vn[1-2]", "vn1"), ("gpu[007-010,12],login1", "gpu007"), ("a[3,5]-ib", "a3-ib"),
        ("n-1-[04-09]", "n-1-04"),
    ],
)  # fmt: skip
def test_the_first_node_of_a_list(nodelist, first):
    assert first_node(nodelist) == first


@pytest.mark.parametrize(
    ("local", "seen", "share", "wanted"),
    [
        ((1, 4), None, 1, [1]),
        ((1, 2), "0,1,2,3", 2, [2, 3]),
        ((1, 4), "1", 1, None),  # bound by the launcher
        ((0, 1), None, 4, None),
        ((None, None), None, 1, None),
    ],
)
def test_processes_of_a_node_take_its_gpus_in_turn(local, seen, share, wanted):
    launch = Launch(launcher="slurm", processes=8, local_process=local[0], local_processes=local[1])
    assert visible_devices(launch, share, {} if seen is None else {"CUDA_VISIBLE_DEVICES": seen}) == wanted


@pytest.mark.parametrize("environment", [SRUN, PMI2, MPICH, OPENMPI], ids=["srun", "srun pmi2", "mpich", "openmpi"])
def test_copies_that_know_nothing_of_each_other_are_refused(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DeviceError, match="dist-sim run FILE.py"):
        neuron_mesh(2)
    monkeypatch.setenv("DIST_SIM_ALONE", "1")
    assert neuron_mesh(2).size == 2


def test_hardware_threads_of_a_core_and_cores_of_a_socket_stay_together():
    # Two sockets of two cores, whose second hardware threads are numbered after all first ones.
    def core_of(cpu):
        return cpu % 4 // 2, cpu % 2

    assert shares(range(8), 2, core_of) == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert shares(range(8), 4, core_of) == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert shares(range(8), 3, core_of) == [[0, 4], [1, 2, 5], [3, 6, 7]]


@pytest.mark.parametrize(
    ("masks", "threads", "kept"),
    [
        ([[0, 1, 2, 3]] * 2, None, [2, 3]),
        ([[0, 1, 2, 3]] * 2, 2, [2, 3]),
        ([[0, 1, 2, 3]] * 2, 3, None),  # asked for
        ([[0, 1], [2, 3]], None, None),  # shared out by the launcher
        ([[0]] * 2, None, None),  # too few
    ],
)
def test_processes_of_a_node_share_out_its_cores(monkeypatch, masks, threads, kept):
    posted = {}
    launch = Launch(launcher="mpich", processes=2, process=1, local_process=1, local_processes=2)
    monkeypatch.setattr(board, "post", posted.__setitem__)
    monkeypatch.setattr(board, "read", lambda key: posted.get(key, repr(masks[0])))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(masks[1]))
    monkeypatch.setattr("dist_sim.cluster.cores._core_of", lambda cpu: (0, cpu))
    bound = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: bound.append(cores))
    assert share_cores(launch, threads) == kept and bound == ([] if kept is None else [kept])
