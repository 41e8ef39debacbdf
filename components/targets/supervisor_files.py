"""What supervisord reads, and the socket that it answers on.

Text and transport only; when which file is written is components.targets.supervisor's business.
"""

from __future__ import annotations

import http.client
import shlex
import socket
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import SupervisorError
from components.targets import orphans

# Longer than any program may take to stop: supervisord answers `stop` when it has stopped.
_ANSWER_TIMEOUT_S = 120.0
# Patterns of its include, and what begins a comment.
_UNREADABLE = "*?[];#"


@dataclass(frozen=True)
class Definition:
    """A program as supervisord is told of it."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    stop_timeout_s: int = 10


def render_main(root: Path, address: Path, identifier: str) -> str:
    """The daemon's own configuration."""
    folder = str(root).replace("%", "%%")
    return (
        "[unix_http_server]\n"
        f"file={address}\nchmod=0600\n\n"
        "[supervisord]\n"
        f"logfile={folder}/supervisord.log\nlogfile_maxbytes=5MB\nlogfile_backups=1\n"
        f"pidfile={folder}/supervisord.pid\nchildlogdir={folder}\n"
        f"identifier=mesos-platform-{identifier}\numask=077\nnodaemon=false\n\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = "
        "supervisor.rpcinterface:make_main_rpcinterface\n\n"
        "[include]\nfiles = conf.d/*.conf\n"
    )


def check_readable(folder: Path) -> None:
    """Refuse places whose names mean something else in supervisord's files.

    Raises:
        SupervisorError: naming what stands in the path.
    """
    seen = sorted({char for char in str(folder) if char in _UNREADABLE or not char.isprintable()})
    if seen:
        msg = (
            f"expected a path without any of {_UNREADABLE}, because supervisord's files give them "
            f"a meaning, saw {' '.join(map(repr, seen))} in {str(folder)!r}. Move the checkout"
        )
        raise SupervisorError(msg)


def launcher_of(directory: Path) -> Path:
    """The script that becomes a program."""
    return directory / "run"


def render_launcher(definition: Definition, *, directory: Path) -> str:
    """A script, because supervisord's format has no place for every argument (a line break), and
    because the process id that a program keeps through every exec must be written down: without a
    supervisor there would be no way to tell a program from what it started."""
    pid = shlex.quote(str(directory / "pid"))
    return f"#!/bin/sh\necho $$ > {pid} && exec {shlex.join(definition.argv)}\n"


def render_program(definition: Definition, *, directory: Path, log: Path, mark: str) -> str:
    """The configuration of one program."""
    variables = {**definition.environment, orphans.MARK: mark}
    settings = {
        "command": shlex.quote(str(launcher_of(directory))),
        "directory": str(directory),
        "environment": ",".join(f'{key}="{value}"' for key, value in sorted(variables.items())),
        "autostart": "true",
        "autorestart": "true",
        "startsecs": "1",
        # A process that cannot start yet (its ensemble is away) must be tried for ever: giving up
        # after a few seconds would turn a short outage into a long one.
        "startretries": "100000",
        "stopsignal": "TERM",
        "stopwaitsecs": str(definition.stop_timeout_s),
        # Tasks of an agent outlive it.
        "stopasgroup": "false",
        "killasgroup": "false",
        "redirect_stderr": "true",
        # This one value is expanded twice.
        "stdout_logfile": str(log).replace("%", "%%"),
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": "1",
    }
    lines = [f"{key}={value.replace('%', '%%')}" for key, value in settings.items()]
    return f"[program:{definition.name}]\n" + "\n".join(lines) + "\n"


def proxy(address: str) -> Any:
    """Supervisord's methods, by name, over its UNIX socket."""
    return xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(address)).supervisor


class _Transport(xmlrpc.client.Transport):
    """One connection a call, closed after it, also where nobody listens."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _Connection(self._address)
        # What the base class closes.
        self._connection = host, connection
        return connection

    def single_request(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().single_request(*arguments, **options)
        finally:
            self.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, address: str) -> None:
        super().__init__("localhost", timeout=_ANSWER_TIMEOUT_S)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_TIMEOUT_S)
        self.sock.connect(self._address)
