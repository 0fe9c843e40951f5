"""Processes of workers on this machine: whether one that tells its pid really is that process, and its end."""

from __future__ import annotations

import ipaddress
import os
import socket

import psutil

from console.gateway.protocol import GatewayError
from console.viewmodel.streams_told import WorkerTold

_MODULE = "engine.streams.runtime"
# A worker tells its start from its own clock, a little after the process began.
_CLOCKS_DIFFER_MS = 5_000


def reason_against_kill(worker: WorkerTold) -> str:
    """Why a worker cannot be killed from here; empty if it can. What it tells of itself is not believed: the process
    of its pid must be a worker's by its command line, and listen where the worker answered."""
    try:
        _process_of(worker)
    except GatewayError as error:
        return str(error)
    return ""


def kill_worker(worker: WorkerTold) -> None:
    """SIGKILL. Raises: GatewayError: it is not (any more) a worker on this machine."""
    try:
        _process_of(worker).kill()
    except psutil.NoSuchProcess:
        raise GatewayError(f"process {worker.pid} has ended already") from None


def _process_of(worker: WorkerTold) -> psutil.Process:
    """Raises: GatewayError."""
    host, _, port = worker.endpoint.rpartition(":")
    if worker.pid is None:
        raise GatewayError("it does not tell its process")
    if not _is_here(host.strip("[]")):
        raise GatewayError(f"it runs on another machine: {host}")
    try:
        process = psutil.Process(worker.pid)
        with process.oneshot():
            if process.uids().real != os.getuid():
                raise GatewayError(f"process {worker.pid} is another user's")
            if _MODULE not in process.cmdline():
                raise GatewayError(f"process {worker.pid} is no worker of `kconsole streams`")
            if worker.started_ms and process.create_time() * 1000 > worker.started_ms + _CLOCKS_DIFFER_MS:
                raise GatewayError(f"process {worker.pid} is younger than this worker")
        listens = any(
            each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == int(port)
            for each in process.net_connections("tcp")
        )
    except psutil.NoSuchProcess:
        raise GatewayError(f"there is no process {worker.pid} on this machine") from None
    except psutil.AccessDenied:
        raise GatewayError(f"process {worker.pid} may not be looked at") from None
    if not listens:
        raise GatewayError(f"process {worker.pid} does not listen on {worker.endpoint}")
    return process


def _is_here(host: str) -> bool:
    if host in ("localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    here = {each.address.partition("%")[0] for parts in psutil.net_if_addrs().values() for each in parts}
    return address.is_loopback or str(address) in here
