"""Slurm on one machine, with two nodes that share it, for the time of a test."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol")
# OverMemoryKill needs no control groups, which containers may not have. With config_overrides, a
# node may have more processors than the machine: some rules ask for four.
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
KillWait=2
{nodes}
PartitionName=main Nodes=first,second Default=YES MaxTime=INFINITE State=UP
PartitionName=target Nodes=second MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs of Slurm that are not installed here."""
    return [name for name in PROGRAMS if not shutil.which(name, path=_path())]


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Run Slurm in a folder; yields the environment that its commands need.

    The partition `main` has the nodes `first` and `second`, and `target` the second alone.
    """
    configuration = folder / "slurm.conf"
    configuration.write_text(_configure(folder))
    environment = {**os.environ, "PATH": f"{folder}:{_path()}", "SLURM_CONF": str(configuration)}
    # The executor's jobs call srun without SLURM_CONF.
    srun = folder / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    (folder / "state").mkdir()
    munged = ["munged", "--force", "--foreground", f"--key-file={key}"]
    for name in ("socket", "pid", "log", "seed"):
        option = name if name == "socket" else f"{name}-file"
        munged.append(f"--{option}={folder}/munge.{name}")
    with contextlib.ExitStack() as daemons:
        for command in (munged, ["slurmctld", "-D"], *_daemons_of_nodes()):
            daemons.enter_context(_daemon(command, environment, folder))
        _wait_for_nodes(environment)
        yield environment


def _configure(folder: Path) -> str:
    """The configuration, with ports that are free now."""
    ports = []
    with contextlib.ExitStack() as sockets:
        for _ in range(3):
            free = sockets.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    host = socket.gethostname().split(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 9 // 10
    nodes = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
        f"CPUs={max(4, os.cpu_count() or 1)} RealMemory={memory} State=UNKNOWN"
        for name, port in zip(("first", "second"), ports[1:], strict=True)
    ]
    return _CONFIGURATION.format(
        folder=folder,
        host=host,
        user=getpass.getuser(),
        controller_port=ports[0],
        nodes="\n".join(nodes),
    )


def _daemons_of_nodes() -> list[list[str]]:
    return [["slurmd", "-D", "-N", name] for name in ("first", "second")]


@contextlib.contextmanager
def _daemon(command: list[str], environment: dict, folder: Path) -> Iterator[None]:
    """Run a daemon in the foreground; its first words go to a file."""
    with (folder / "daemons.log").open("a") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait_for_nodes(environment: dict) -> None:
    """Wait until both nodes take jobs, for a minute at the most."""
    for _ in range(120):
        found = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format=%N %t"],
            env=environment,
            capture_output=True,
            text=True,
        )
        if {"first idle", "second idle"} <= set(found.stdout.splitlines()):
            return
        time.sleep(0.5)
    raise TimeoutError(f"Slurm did not start: {found.stdout}{found.stderr}")
