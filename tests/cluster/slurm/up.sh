#!/bin/bash
# A real SLURM of several virtual nodes on this machine: up.sh FOLDER. Stopped by down.sh FOLDER.
#
# slurmctld, one slurmd per node and a munged of their own, everything below FOLDER and on 127.0.0.1 only; no systemd, cgroups or
# database. Needs root and the Debian packages slurm-wlm and munge. Use it with SLURM_CONF=FOLDER/slurm.conf in the environment.
# NODES (2) and CPUS of each (2): virtual, so they may be more than there are. PORT (17100): the first of NODES + 2.
set -euo pipefail
folder=$(realpath -m "$1")
nodes=${NODES:-2} cpus=${CPUS:-2} port=${PORT:-17100}
fail() { echo "up.sh: $*" >&2; tail -n 5 "$folder"/log/*.log >&2 2>/dev/null; exit 1; }

for program in slurmctld slurmd sbatch munged; do
    command -v "$program" >/dev/null || fail "there is no $program: apt-get install slurm-wlm munge"
done
[ "$(id -u)" = 0 ] || fail "needs root"

mkdir -p "$folder"/{run,log,state}
chmod 755 "$folder" "$folder"/{run,log,state} # munged refuses a socket in a folder that others cannot enter
(umask 077; head -c 64 /dev/urandom >"$folder/munge.key")
# JAX takes the name of a job's first node as the address of its coordinator, so the names must resolve.
for ((n = 1; n <= nodes; n++)); do
    echo "127.0.0.1 ds$n # SLURM in $folder" >>/etc/hosts
done

# cred_expire: a requeued job waits that long (two minutes by default). It must be longer than KillWait + 2 s: so long an srun whose
# node's daemons were killed waits, and then it kills the step of its number, which is by then that of the next attempt.
# ReturnToService: a node that was lost comes back by itself.
cat >"$folder/slurm.conf" <<END
ClusterName=tests
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.sock,cred_expire=12
SlurmctldPort=$port
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/state/slurmd.%n
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0,batch_sched_delay=0,requeue_delay=1
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=300
SlurmdTimeout=30
JobRequeue=1
END
for ((n = 1; n <= nodes; n++)); do
    line="NodeName=ds$n NodeHostname=ds$n NodeAddr=127.0.0.1 Port=$((port + 1 + n)) CPUs=$cpus RealMemory=20000 State=UNKNOWN"
    line="$line Feature=rack$n Gres=gpu:a100:2"
    echo "$line" >>"$folder/slurm.conf"
done
# What jobs ask for by name: two more partitions of the same nodes, features, licences, and GPUs that are none.
cat >>"$folder/slurm.conf" <<END
PartitionName=main Nodes=ds[1-$nodes] Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=ds[1-$nodes] MaxTime=INFINITE State=UP
PartitionName=long Nodes=ds[1-$nodes] MaxTime=INFINITE State=UP
GresTypes=gpu
Licenses=solver:2
END
touch "$folder"/gpu{0,1}
echo "Name=gpu Type=a100 File=$folder/gpu[0-1]" >"$folder/gres.conf"
# Without it slurmd does not start where /sys/fs/cgroup is not mounted, though nothing uses cgroups.
echo "CgroupPlugin=cgroup/v1" >"$folder/cgroup.conf"
export SLURM_CONF=$folder/slurm.conf

# setsid and closed streams: the daemons outlive this shell and hold none of its pipes.
start() { setsid "$@" </dev/null >>"$folder/log/start.log" 2>&1 || fail "$1 did not start"; }
start munged --force --key-file="$folder/munge.key" --socket="$folder/run/munge.sock" --pid-file="$folder/run/munged.pid" \
    --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed"
start slurmctld -c -f "$SLURM_CONF"
for ((n = 1; n <= nodes; n++)); do
    start slurmd -N "ds$n" -f "$SLURM_CONF"
done
for ((tries = 0; tries < 120; tries++)); do
    [ "$(timeout 5 sinfo -h -N -p main -o %T 2>/dev/null | grep -cx idle || true)" = "$nodes" ] && exit 0
    sleep 0.25
done
fail "the nodes did not come up"
