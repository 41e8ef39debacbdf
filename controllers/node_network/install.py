"""Puts networks on a node: everything that is there already stays as it is.

Files are replaced one by one, each at once: an agent that launches a container meanwhile finds an
old one or a new one, never half.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from controllers.errors import NodeNetworkError
from controllers.node_network.profiles import PLUGINS, Overlay, Profile
from controllers.node_network.settings import NodeNetworkSettings, unfit

# Of one command; a lock of the filter rules is waited for.
_COMMAND_S_MAX = 60.0
Run = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]


def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command; it may fail.

    Raises:
        NodeNetworkError: there is no such program, or it does not end.
    """
    try:
        return subprocess.run(
            words, check=False, capture_output=True, text=True, timeout=_COMMAND_S_MAX
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"expected {words[0]} to run in this image, saw {error}"
        raise NodeNetworkError(msg) from None


def install(settings: NodeNetworkSettings, address: str, run: Run = run) -> None:
    """Put all of it on the node of this address.

    Raises:
        ProfileError: the node has no number in an overlay.
        NodeNetworkError: a link leads to folders of others, a file cannot be written, or a command
            fails.
    """
    _check_links(settings)
    numbers = {one.name: one.number(address) for one in settings.overlays}
    try:
        _put_plugins(settings.plugins, settings.folder / "bin")
        _put_files(settings, numbers)
    except OSError as error:
        msg = f"expected to write below {settings.folder}, saw {error}: mount it from the node"
        raise NodeNetworkError(msg) from None
    for overlay in settings.overlays:
        _join(overlay, numbers[overlay.name], run)


def _check_links(settings: NodeNetworkSettings) -> None:
    """Names of folders were looked at when settings were read; where they lead is the node's."""
    real = settings.folder.resolve()
    if why := unfit(real):
        msg = f"{settings.folder} is a link: {why}"
        raise NodeNetworkError(msg)
    for place in (settings.folder / "bin", settings.folder / "leases", settings.configuration):
        expected = real / place.relative_to(settings.folder)
        if place.resolve() != expected:
            msg = (
                f"expected {place} to be a folder, saw a link to {place.resolve()}, whose files "
                "would be replaced or removed: remove the link from the node"
            )
            raise NodeNetworkError(msg)


def _put_plugins(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in PLUGINS:
        fresh = target / f".{name}.new"
        shutil.copyfile(source / name, fresh)
        fresh.chmod(0o755)
        fresh.replace(target / name)


def _put_files(settings: NodeNetworkSettings, numbers: dict[str, int]) -> None:
    target = settings.configuration
    target.mkdir(parents=True, exist_ok=True)
    (settings.folder / "leases").mkdir(exist_ok=True)
    wanted = {f"{one.name}.conf": _text(one, settings, numbers) for one in settings.profiles}
    for name, text in wanted.items():
        # Agents read whatever file they find: what is not finished lies elsewhere.
        fresh = settings.folder / f".{name}.{os.getpid()}"
        fresh.write_text(text)
        fresh.replace(target / name)
    for path in target.iterdir():
        if path.name not in wanted:
            path.unlink()


def _text(profile: Profile, settings: NodeNetworkSettings, numbers: dict[str, int]) -> str:
    leases = str(settings.folder / "leases")
    return json.dumps(profile.document(leases, numbers.get(profile.name, 0)), indent=2) + "\n"


def _join(overlay: Overlay, number: int, run: Run) -> None:
    for step in overlay.steps(number):
        if step.unless and run(step.unless).returncode == 0:
            continue
        _succeed(step.words, run)
    listed = ("ip", "-json", "route", "show", "dev", overlay.vxlan, "scope", "global")
    ways = overlay.ways(number)
    for route in json.loads(_succeed(listed, run) or "[]"):
        if "gateway" in route and route["dst"] not in ways:
            _succeed(("ip", "route", "del", route["dst"], "dev", overlay.vxlan), run)


def _succeed(words: Sequence[str], run: Run) -> str:
    done = run(words)
    if done.returncode != 0:
        msg = f"expected `{' '.join(words)}` to succeed on this node, saw {done.stderr.strip()}"
        raise NodeNetworkError(msg)
    return done.stdout
