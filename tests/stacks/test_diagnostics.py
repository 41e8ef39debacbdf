"""From the engine's words to typed errors."""

from __future__ import annotations

import pytest

from stacks.diagnostics import Diagnostic, error_of
from stacks.errors import (
    ConcurrentUpdateError,
    ConfigError,
    GateRefusedError,
    ProtectedError,
    ResourceFailedError,
    StackMissingError,
    UpdateFailedError,
    WrongPassphraseError,
)

URN = "urn:pulumi:local::mesos-platform::pulumi-python:dynamic/local:Process::blue-masters-1"
PROVIDER_WORDS = (
    "Exception calling application: Traceback (most recent call last):\n"
    "components.errors.PortInUseError: blue-masters-1: expected port 1 to be free\n"
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("error: incorrect passphrase", WrongPassphraseError),
        ("error: passphrase must be set with PULUMI_CONFIG_PASSPHRASE", WrongPassphraseError),
        ("error: the stack is currently locked by 1 lock(s)", ConcurrentUpdateError),
        ("error: no stack named 'x' found", StackMissingError),
        ("\x1b[31merror\x1b[0m: something new", UpdateFailedError),
    ],
)
def test_the_engine_s_words_become_a_kind_of_error(text: str, kind: type[Exception]) -> None:
    error = error_of("local", [], text)

    assert type(error) is kind
    assert "\x1b" not in str(error)


def test_the_gate_s_message_is_carried() -> None:
    text = "Gate resource 'gate': property position has a problem: the gate refuses this update: no"

    error = error_of("local", [Diagnostic("", text)], "")

    assert isinstance(error, GateRefusedError)
    assert str(error) == "the gate refuses this update: no"


def test_a_failed_resource_is_named_with_what_it_said() -> None:
    told = [Diagnostic("", "update failed"), Diagnostic(URN, PROVIDER_WORDS)]

    error = error_of("local", told, "")

    assert isinstance(error, ResourceFailedError)
    assert error.resource == "blue-masters-1"
    assert error.reason == "blue-masters-1: expected port 1 to be free"


_FORBIDDEN = (
    'statefulsets.apps "blue-zookeeper" is forbidden: User "deployer" cannot delete resource '
    '"statefulsets" in API group "apps" in the namespace "mesos"'
)
_NOT_READY = (
    '1 error occurred:\n\t* the Kubernetes API server reported that "mesos/blue-zookeeper" failed '
    "to fully initialize or become live: timed out"
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (_FORBIDDEN, "What was done stays: give this user that right, and update again"),
        (_NOT_READY, "What was applied stays: mend the cause, and update again"),
    ],
)
def test_what_kubernetes_says_is_told_with_what_to_do(said: str, expected: str) -> None:
    error = error_of("rig", [Diagnostic(URN, f"deleting urn: {said}")], "")

    assert isinstance(error, ResourceFailedError)
    assert said in error.reason
    assert error.reason.endswith(expected)


def test_configuration_errors_keep_their_lines() -> None:
    text = (
        "configuration of stack local (Pulumi.local.yaml) is wrong:\n"
        "  mesos-platform:x: unknown key 'x'\nerror: an unhandled error occurred"
    )

    error = error_of("local", [Diagnostic("", text)], "")

    assert isinstance(error, ConfigError)
    assert str(error).splitlines()[-1] == "  mesos-platform:x: unknown key 'x'"


def test_a_protected_resource_is_named() -> None:
    text = f"error: resource {URN!r} cannot be deleted\nbecause it is protected. To unprotect"

    error = error_of("local", [Diagnostic(URN, text)], "")

    assert isinstance(error, ProtectedError)
    assert "blue-masters-1" in str(error)
