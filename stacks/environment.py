"""What Pulumi needs to know in this checkout: where state lies, which passphrase, which programs.

Everything lies in `.local/`, which git ignores: nothing is written to the user's own Pulumi folder,
and nothing there changes what happens here. Commands of this project call `apply`, so that they
work without any variable set; a person who types `pulumi` by hand reads the same values into a
shell with

    . .local/env

Commands leave alone a variable that is set already: stacks of somebody's own may lie in a backend
of their own. The demo and set-up (`own=True`), and who reads that file into a shell, mean the
stacks of this checkout, and get its backend and passphrase whatever was set.

The stacks `local` and `dev` hold no secret in their state (secrets are files, and states hold their
names), so their passphrase is none either: it is `mesos-platform-dev`.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from components import whole_file

PASSPHRASE = "mesos-platform-dev"  # noqa: S105 - it guards no secret, as said above
_PASSPHRASE_VARIABLES = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
# A small provider that previews stack dev where Pulumi cannot download the real one.
_PROVIDERS = Path("tests", "providers", "bin")


def local_folder(project_dir: Path) -> Path:
    """Where everything lies that running the project makes."""
    return project_dir.resolve() / ".local"


def run_dir_of(project_dir: Path, stack: str, given: str | None) -> Path:
    """Where everything of a stack runs, without symbolic links: what runs is found by a mark that
    is made of this path, so whoever asks must get the same. `given` is the stack's own run_dir."""
    return (project_dir / (given or f".local/{stack}")).resolve()


def defaults(project_dir: Path) -> dict[str, str]:
    """Values of variables that are not set."""
    local = local_folder(project_dir)
    return {
        "PULUMI_HOME": str(local / "pulumi-home"),
        "PULUMI_BACKEND_URL": f"file://{local / 'pulumi-state'}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(local / "passphrase"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def apply(
    project_dir: Path,
    variables: MutableMapping[str, str] | None = None,
    *,
    own: bool = False,
) -> None:
    """Set what is missing in this process's environment, and write the files that it names.

    `own` also replaces backend, passphrase and folder of Pulumi that somebody has set.

    Raises:
        OSError: the folder cannot be written.
    """
    target = os.environ if variables is None else variables
    write_files(project_dir)
    if own:
        # It would be taken before the file.
        target.pop("PULUMI_CONFIG_PASSPHRASE", None)
    for name, value in defaults(project_dir).items():
        same = _PASSPHRASE_VARIABLES if name in _PASSPHRASE_VARIABLES else (name,)
        if own or not any(variable in target for variable in same):
            target[name] = value
    target["PATH"] = _path(project_dir, target)


def _path(project_dir: Path, variables: Mapping[str, str]) -> str:
    """This environment's programs first: the engine looks for its language host and for Python
    there, and Python on PATH is what runs dynamic providers."""
    known = variables.get("PATH", os.defpath).split(os.pathsep)
    own = str(Path(sys.prefix) / "bin")
    found = [own, *(entry for entry in known if entry != own)]
    providers = project_dir.resolve() / _PROVIDERS
    if providers.is_dir() and not _has_plugin(variables) and str(providers) not in found:
        found.append(str(providers))
    return os.pathsep.join(found)


def _has_plugin(variables: Mapping[str, str]) -> bool:
    plugins = Path(variables.get("PULUMI_HOME", "")) / "plugins"
    return any(plugins.glob("resource-kubernetes-v*"))


def write_files(project_dir: Path) -> Path:
    """Write what `defaults` names, and the file for shells; returns the latter."""
    local = local_folder(project_dir)
    local.mkdir(mode=0o700, exist_ok=True)
    for name in ("pulumi-home", "pulumi-state"):
        (local / name).mkdir(mode=0o700, exist_ok=True)
    _write(local / "passphrase", f"{PASSPHRASE}\n")
    shell = local / "env"
    _write(shell, render(project_dir))
    return shell


def render(project_dir: Path) -> str:
    """The file for shells."""
    lines = [
        "# Read into a shell, in this checkout: . .local/env",
        "# From then on, that shell works on this checkout's stacks.",
        "unset PULUMI_CONFIG_PASSPHRASE",
    ]
    for name, value in defaults(project_dir).items():
        lines.append(f"{name}={shlex.quote(value)}; export {name}")
    path = _path(project_dir, {**defaults(project_dir), "PATH": ""})
    own, _, rest = path.partition(os.pathsep)
    providers = f":{shlex.quote(rest.strip(os.pathsep))}" if rest.strip(os.pathsep) else ""
    lines.append(f'PATH={shlex.quote(own)}:"$PATH"{providers}; export PATH')
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    try:
        if path.read_text() == text:
            return
    except OSError:
        pass
    whole_file.write(path, text)
