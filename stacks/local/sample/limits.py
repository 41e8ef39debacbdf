"""What a canary runs to see its own limits: the control groups that its process finds itself in.

An agent may be told to hold tasks to their share and yet be unable to: a task of a stand-in without
the right to make groups, or of an agent whose hierarchy is mounted elsewhere, runs without any.
Only a task can tell. No input or output: the command is a text.
"""

from __future__ import annotations

# What agents add for the executor that runs a command, and the least that they give.
_EXECUTOR_CPUS, _EXECUTOR_MB, _MEM_MB_MIN = 0.1, 32.0, 32.0
_MB = 1024 * 1024


def command(cpus: float, mem_mb: float) -> str:
    """A command of `sh` that ends with 0 within limits of that size, and else tells what it has."""
    bytes_max = int((max(mem_mb, _MEM_MB_MIN) + _EXECUTOR_MB) * _MB)
    thousandths = round((cpus + _EXECUTOR_CPUS) * 1000)
    return f"""\
root=/sys/fs/cgroup
if [ -e $root/cgroup.controllers ]; then
    group=$root$(sed -n 's/^0:://p' /proc/self/cgroup)
    memory=$(cat "$group/memory.max")
    read -r quota period < "$group/cpu.max"
else
    group=$root/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
    memory=$(cat "$group/memory.limit_in_bytes")
    group=$root/cpu$(sed -nE 's/^[0-9]+:([^:]*,)?cpu(,[^:]*)?://p' /proc/self/cgroup)
    quota=$(cat "$group/cpu.cfs_quota_us")
    period=$(cat "$group/cpu.cfs_period_us")
fi
echo "memory $memory of {bytes_max}, processors $quota of $period * {thousandths} / 1000" >&2
case "$memory $quota" in *max*|*-*) exit 1;; esac
[ "$memory" -le {bytes_max} ] && [ "$quota" -le $((period * {thousandths} / 1000)) ]
"""
