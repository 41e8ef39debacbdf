"""Stand-ins behind the command lines of the real programs: `mesos-master` and `mesos-agent`.

`install` puts them into a folder for PATH, so that whatever starts the real programs there can be
tried where those are not. Flags are read as Mesos' own library (stout) reads them: an unknown or
repeated name ends the program, `--name` and `--no-name` are for booleans, and a value that begins
with `file://` is what stands in that file.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from stacks.local import mesos_agent, mesos_master
from tests.fixtures.mesos import load

# Where each start is noted, one JSON list of arguments a line.
LOG = "MESOS_PLATFORM_TEST_PROGRAMS_LOG"
CHECKOUT = Path(__file__).resolve().parents[2]
_UNITS_S = {"ms": 0.001, "secs": 1.0, "mins": 60.0, "hrs": 3600.0, "days": 86_400.0}
# Of docs/configuration, those that a master tells only when they are set.
_UNSET_MASTER = ("acls", "advertise_ip", "credentials", "domain", "http_framework_authenticators")
_AGENT = {
    "advertise_ip": False,
    "attributes": False,
    "cgroups_enable_cfs": True,
    "containerizers": False,
    "credential": False,
    "executor_shutdown_grace_period": False,
    "hostname": False,
    "hostname_lookup": True,
    "ip": False,
    "isolation": False,
    "launcher": False,
    "log_dir": False,
    "master": False,
    "port": False,
    "reconfiguration_policy": False,
    "resources": False,
    "runtime_dir": False,
    "systemd_enable_support": True,
    "work_dir": False,
}


class FlagError(Exception):
    """What the real program would say before it ends."""


def known_flags(program: str) -> dict[str, bool]:
    """Names, and which of them are booleans: a master's as a real one has told them."""
    if program == "mesos-agent":
        return _AGENT
    told = {n: v in {"true", "false"} for n, v in load("get_flags").json["flags"].items()}
    return {**told, **dict.fromkeys(_UNSET_MASTER, False)}


def read_flags(program: str, arguments: Sequence[str]) -> dict[str, str]:
    """Values by name.

    Raises:
        FlagError: an argument that the program refuses.
    """
    known, found = known_flags(program), dict[str, str]()
    for argument in arguments:
        name, has_value, value = argument.removeprefix("--").partition("=")
        is_off = not has_value and name.startswith("no-")
        name = name.removeprefix("no-") if is_off else name
        if not argument.startswith("--") or name not in known:
            msg = f"Failed to load unknown flag '{name}'"
            raise FlagError(msg)
        if name in found:
            msg = f"Duplicate flag '{name}' on command line"
            raise FlagError(msg)
        if not has_value and not known[name]:
            msg = f"Failed to load non-boolean flag '{name}': Missing value"
            raise FlagError(msg)
        if not has_value:
            value = "false" if is_off else "true"
        if known[name] and value not in {"true", "false"}:
            msg = f"Failed to load flag '{name}': Expecting a boolean (e.g., true or false)"
            raise FlagError(msg)
        found[name] = _fetched(value)
    return found


def _fetched(value: str) -> str:
    return Path(value.removeprefix("file://")).read_text() if value.startswith("file://") else value


def seconds(text: str) -> float:
    """A duration as Mesos reads it."""
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr] - no match fails the test
    return float(number) * _UNITS_S[unit]


def master_settings(flags: Mapping[str, str]) -> dict[str, Any]:
    """What the flags of a master mean to a stand-in."""
    given: dict[str, Any] = {
        "engine": "stand-in",
        **{
            name: flags[name] for name in ("work_dir", "ip", "hostname", "cluster") if name in flags
        },
        **_election(flags["zk"], flags["work_dir"], "zk"),
        "port": int(flags["port"]),
        "quorum": int(flags["quorum"]),
        "log_auto_initialize": flags["log_auto_initialize"] == "true",
        "max_agent_ping_timeouts": int(flags["max_agent_ping_timeouts"]),
        "allocation_interval_ms": round(seconds(flags["allocation_interval"]) * 1000),
    }
    if "advertise_ip" in flags:
        given["advertise_ip"] = flags["advertise_ip"]
    for name in ("zk_session_timeout", "agent_ping_timeout", "agent_reregister_timeout"):
        given[f"{name}_s"] = seconds(flags[name])
    for name in ("authenticate_agents", "authenticate_http_frameworks"):
        given[name] = flags.get(name) == "true"
    if flags.get("authenticate_http_readwrite") == "true" or given["authenticate_agents"]:
        given["credentials_file"] = flags["credentials"]
    if "acls" in flags:
        # An absolute path stands for what is in it, as it once did for every flag.
        given["acls_file"] = flags["acls"]
    return given


def agent_settings(flags: Mapping[str, str]) -> dict[str, Any]:
    """What the flags of an agent mean to a stand-in."""
    resources: dict[str, Any] = dict(one.split(":", 1) for one in flags["resources"].split(";"))
    first, last = resources["ports"].strip("[]").split("-")
    attributes = flags.get("attributes", "")
    given: dict[str, Any] = {
        "engine": "stand-in",
        **{name: flags[name] for name in ("work_dir", "ip", "hostname")},
        **_election(flags["master"], flags["work_dir"], "master"),
        "port": int(flags["port"]),
        "resources": {**resources, "ports": [int(first), int(last)]},
        "isolation": "cgroups" if "cgroups" in flags["isolation"] else "posix",
        "executor_shutdown_grace_period_s": seconds(flags["executor_shutdown_grace_period"]),
        "attributes": dict(one.split(":", 1) for one in attributes.split(";") if one),
    }
    if "credential" in flags:
        one = json.loads(Path(flags["credential"]).read_text())
        file = Path(flags["work_dir"]) / "given-credential"
        file.write_text(f"{one['principal']}:{one['secret']}")
        given["credential_file"] = str(file)
    return given


def _election(address: str, work_dir: str, name: str) -> dict[str, str]:
    identity, at, rest = address.removeprefix("zk://").rpartition("@")
    if not at:
        return {name: address}
    file = Path(work_dir) / "given-identity"
    file.write_text(identity)
    return {name: f"zk://{rest}", "zk_auth_file": str(file)}


def install(folder: Path) -> dict[str, str]:
    """Make both programs; returns the environment in which they are found, and noted."""
    folder.mkdir()
    for program in ("mesos-master", "mesos-agent"):
        script = folder / program
        script.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" -m tests.local.programs {program} "$@"\n'
        )
        script.chmod(0o755)
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    log = str(folder / "started.jsonl")
    return {**os.environ, "PATH": path, "PYTHONPATH": str(CHECKOUT), LOG: log}


def started(environment: Mapping[str, str]) -> list[list[str]]:
    """Programs that were started, with their arguments."""
    return [json.loads(line) for line in Path(environment[LOG]).read_text().splitlines()]


def main() -> NoReturn:
    """Be one of the programs."""
    program, arguments = sys.argv[1], sys.argv[2:]
    if log := os.environ.get(LOG):
        with Path(log).open("a") as file:
            file.write(json.dumps([program, *arguments]) + "\n")
    try:
        flags = read_flags(program, arguments)
    except FlagError as error:
        sys.exit(str(error))
    is_master = program == "mesos-master"
    settings = master_settings(flags) if is_master else agent_settings(flags)
    config = Path(flags["work_dir"]) / "given-settings"
    config.write_text(json.dumps(settings))
    sys.argv = [program, "--config", str(config)]
    sys.exit(mesos_master.main() if is_master else mesos_agent.main())


if __name__ == "__main__":
    main()
