#!/bin/bash
# Ends the SLURM that up.sh FOLDER started: its jobs, then its daemons, each known by its pid file and its command line.
set -uo pipefail
folder=$(realpath -m "$1")
export SLURM_CONF=$folder/slurm.conf

words() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null; } # nothing for a process that is gone, or is a zombie

timeout 10 scancel --full --signal=KILL --user=root 2>/dev/null
timeout 10 scancel --user=root 2>/dev/null
for ((tries = 0; tries < 40; tries++)); do
    [ -z "$(timeout 5 squeue -h 2>/dev/null)" ] && break
    sleep 0.25
done
for file in "$folder"/run/slurmd.*.pid "$folder/run/slurmctld.pid" "$folder/run/munged.pid"; do
    pid=$(cat "$file" 2>/dev/null) && [[ "$(words "$pid")" = *"$folder"* ]] || continue
    kill "$pid" 2>/dev/null
    for ((tries = 0; tries < 50; tries++)); do
        [ -n "$(words "$pid")" ] || break
        sleep 0.1
    done
    [ -z "$(words "$pid")" ] || kill -9 "$pid"
done
# Written over and not replaced: in a container /etc/hosts is a mount.
kept=$(grep -vF " # SLURM in $folder" /etc/hosts) && echo "$kept" >/etc/hosts
