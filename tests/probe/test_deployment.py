"""The unit and the DaemonSet that stand as examples are such that an agent starts with them."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from probe.agent.doctor import capabilities
from probe.agent.settings import parse_settings
from probe.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples" / "probe"
USEFUL = {one.name for one in capabilities() if not one.adds.startswith("nothing")}


def objects() -> dict[str, Any]:
    loaded = yaml.safe_load_all((EXAMPLES / "daemonset.yaml").read_text())
    return {document["kind"]: document for document in loaded}


def is_a_command(words: list[str]) -> bool:
    """Whether the command line takes it; what comes after `--help` is not done."""
    return CliRunner().invoke(main, [*words, "--help"]).exit_code == 0


def test_the_settings_of_the_daemonset_are_settings() -> None:
    text = objects()["ConfigMap"]["data"]["settings.yaml"]
    settings = parse_settings(text.encode(), "ConfigMap")
    (container,) = objects()["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    mounted = [one["mountPath"] for one in container["volumeMounts"]]

    assert settings.apps
    for file in (settings.token_file, settings.status_socket, settings.docker_host):
        assert any(str(file).removeprefix("unix://").startswith(place) for place in mounted), file


def test_the_daemonset_grants_what_the_doctor_names_and_no_more() -> None:
    pod = objects()["DaemonSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security = container["securityContext"]

    assert {f"CAP_{name}" for name in security["capabilities"]["add"]} == USEFUL
    assert security["capabilities"]["drop"] == ["ALL"]
    assert security["readOnlyRootFilesystem"] is True
    assert pod["hostPID"]
    assert pod["hostNetwork"]
    assert pod["enableServiceLinks"] is False
    for command in (container["command"], container["livenessProbe"]["exec"]["command"]):
        assert command[0] == "probe"
        assert is_a_command(command[1:])


def test_the_unit_grants_what_the_doctor_names_and_no_more() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue] - as its documentation has it
    unit.read(EXAMPLES / "probe-agent.service")
    service = unit["Service"]
    program, *words = service["ExecStart"].split()

    assert set(service["AmbientCapabilities"].split()) == USEFUL
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"]
    assert program.endswith("/probe")
    assert is_a_command(words)
