"""What the demo refuses before it starts anything, and the ports that it chooses."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stacks import config_file
from stacks.demo import local_stack, port_block, preflight, removal
from stacks.demo.__main__ import main
from stacks.demo.errors import RefusedError
from stacks.topology import Placement, Position, Standing
from tests.stacks.demo.conftest import prepare

_OF_ANOTHER_PASSPHRASE = "v1:0hv3wmpgOtA=:v1:l8n3/NiDjnSKe2AA:1r85jQqNtkHLK1WLPKw031a/+SPvPA=="


def base_of(checkout: Path) -> int:
    config = local_stack.read(checkout)
    assert config is not None
    assert config.local is not None
    return config.local.port_base


def listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


def test_a_second_demo_of_a_checkout_says_so_and_stops(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with preflight.only_one(checkout):
        assert main([]) == 2
        assert main(["down"]) == 2

    errors = capsys.readouterr().err
    assert f"expected no other demo in {checkout}, saw process {os.getpid()}" in errors
    assert "Traceback" not in errors


def test_a_demo_that_was_killed_holds_nobody_up(checkout: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from stacks.demo import preflight\n"
        "with preflight.only_one(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(checkout)], stdout=-1) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(RefusedError, match=f"process {holder.pid}"),
            preflight.only_one(checkout),
        ):
            pass
        holder.kill()

    with preflight.only_one(checkout):
        pass


def test_a_first_run_writes_a_configuration_with_free_ports(checkout: Path) -> None:
    block, told = prepare(checkout)

    with block:
        assert base_of(checkout) == block.base
        assert port_block.FIRST <= block.base < port_block.FIRST + 800
        assert told == []


def test_ports_that_were_chosen_are_kept_while_they_are_free(checkout: Path) -> None:
    with prepare(checkout)[0] as first:
        pass
    with prepare(checkout)[0] as second:
        assert second.base == first.base


def test_ports_that_were_chosen_are_chosen_anew_when_somebody_took_one(checkout: Path) -> None:
    with prepare(checkout)[0] as first:
        pass
    with listen(first.base + 57), prepare(checkout)[0] as second:
        assert second.base != first.base
        assert base_of(checkout) == second.base


def test_two_checkouts_never_have_the_same_ports(checkout: Path, tmp_path: Path) -> None:
    """Although nothing listens there yet: both are chosen before either starts anything."""
    other = tmp_path / "other"
    other.mkdir()
    with prepare(checkout)[0] as mine:
        (other / "Pulumi.local.yaml").write_text((checkout / "Pulumi.local.yaml").read_text())
        (other / ".local").mkdir()
        (other / ".local" / "port-base").write_text(f"{mine.base}\n")
        with local_stack.prepare(other) as theirs:
            assert theirs.base != mine.base


def test_a_port_that_a_person_chose_and_somebody_holds_is_named(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with prepare(checkout)[0] as block:
        base = block.base
    (checkout / ".local" / "port-base").unlink()
    with listen(base + 91):
        assert main([]) == 2

    errors = capsys.readouterr().err
    assert f"saw port {base + 91} held by process {os.getpid()}" in errors
    assert base_of(checkout) == base


def test_no_free_ports_at_all_is_said(checkout: Path) -> None:
    with pytest.raises(RefusedError, match="expected 100 free ports in a row"):
        port_block.choose(checkout, is_free=lambda _: False)


def test_sizes_that_a_person_wrote_stay_and_the_position_goes_back(checkout: Path) -> None:
    with prepare(checkout)[0]:
        pass
    path = checkout / "Pulumi.local.yaml"
    text = path.read_text().replace(
        "  mesos-platform:cluster:\n",
        "  mesos-platform:cluster:\n    # mine\n    agents: {count: 3}\n",
    )
    path.write_text(text)
    standing = Standing(position=Position(3), groups={"traffic": Placement.STOPPED})
    config_file.write_migration(path, standing, permit="p", epochs={})

    with prepare(checkout)[0]:
        config = local_stack.read(checkout)

    assert config is not None
    assert config.cluster.agents.count == 3
    assert "# mine" in path.read_text()
    assert config.migration.standing == Standing(groups={"traffic": Placement.SOURCE})
    assert config.migration.permit is None


def test_a_wrong_key_is_named_and_nothing_is_changed(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkout / "Pulumi.local.yaml"
    wrong = "config:\n  mesos-platform:target: local\n  mesos-platform:local: {port_bas: 9000}\n"
    path.write_text(wrong)

    assert main([]) == 2

    errors = capsys.readouterr().err
    assert "unknown key 'port_bas'; did you mean 'port_base'?" in errors
    assert "Traceback" not in errors
    assert path.read_text() == wrong


def test_a_missing_engine_is_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "prefix", str(checkout))

    assert main([]) == 2

    assert "expected the Pulumi engine at" in capsys.readouterr().err
    assert not (checkout / "Pulumi.local.yaml").exists()


def test_missing_java_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(checkout))

    with pytest.raises(RefusedError, match="expected java"):
        preflight.check_programs()


def test_too_little_space_is_said(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "FREE_BYTES_MIN", shutil.disk_usage(checkout).total * 2)

    assert main([]) == 2

    assert "MB free for" in capsys.readouterr().err
    assert not (checkout / "Pulumi.local.yaml").exists()


@pytest.mark.engine
def test_a_wrong_passphrase_is_said_before_anything_runs(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with prepare(checkout)[0]:
        pass
    path = checkout / "Pulumi.local.yaml"
    path.write_text(f"{path.read_text()}encryptionsalt: {_OF_ANOTHER_PASSPHRASE}\n")

    assert main([]) == 2

    errors = capsys.readouterr().err
    assert "expected the passphrase of stack 'local', saw another or none" in errors
    assert "removing the line `encryptionsalt` will do" in errors
    assert "Traceback" not in errors
    assert not removal.left_processes(checkout)


@pytest.mark.parametrize("name", ["a[1]", "a;b", "what?"])
def test_a_path_that_supervisord_would_read_as_something_else_is_refused(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    (checkout / name).mkdir()
    monkeypatch.chdir(checkout / name)

    assert main([]) == 2

    errors = capsys.readouterr().err
    assert "expected a path without any of" in errors
    assert "Move the checkout" in errors
    assert not (checkout / name / "Pulumi.local.yaml").exists()
