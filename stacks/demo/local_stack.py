"""The configuration file of stack local: written once, and put back to phase 0 before each run.

A person may change sizes and ports in it; those stay. Ports that were chosen for the checkout are
chosen anew when somebody else has taken them meanwhile, ports that a person wrote are not: then the
demo says who has them.
"""

from __future__ import annotations

import re
from pathlib import Path

from components.targets import ports
from stacks import config_file, environment
from stacks.config import StackConfig, parse
from stacks.demo import port_block
from stacks.demo.errors import RefusedError
from stacks.demo.port_block import Block
from stacks.environment import local_folder
from stacks.errors import ConfigError
from stacks.topology import Placement, Standing

STACK = "local"
_TEMPLATE = Path(__file__).resolve().parent.parent / "local_stack.template.yaml"
_PORT_BASE = re.compile(r"(?P<key>\bport_base:\s*)(?P<number>\d+)")


def path_of(project_dir: Path) -> Path:
    """The file."""
    return project_dir / f"Pulumi.{STACK}.yaml"


def read(project_dir: Path) -> StackConfig | None:
    """What the file says; None when there is none yet.

    Raises:
        ConfigError: it is wrong.
    """
    path = path_of(project_dir)
    return parse(config_file.read(path, STACK), STACK) if path.exists() else None


def run_dir_of(project_dir: Path, config: StackConfig | None) -> Path:
    """Where everything of the stack runs."""
    given = config.local.run_dir if config and config.local else None
    return environment.run_dir_of(project_dir, STACK, given)


def run_dir(project_dir: Path) -> Path:
    """The same by the file as it is now; also where it cannot be read."""
    try:
        config = read(project_dir)
    except ConfigError:
        config = None
    return run_dir_of(project_dir, config)


def prepare(project_dir: Path) -> Block:
    """Have a file with ports that are free now, at phase 0; returns the ports, held.

    Raises:
        ConfigError: the file is wrong; it was left alone.
        RefusedError: no ports are free, or those that a person wrote are not.
    """
    config = read(project_dir)
    chosen = local_folder(project_dir) / "port-base"
    if config is None:
        block = port_block.choose(project_dir)
        text = _with_base(_TEMPLATE.read_text(), block.base)
    else:
        block = _keep(project_dir, config, chosen)
        text = _with_base(path_of(project_dir).read_text(), block.base)
    if config is None or config.local is None or config.local.port_base != block.base:
        chosen.write_text(f"{block.base}\n")
        _replace(path_of(project_dir), text)
    reset(project_dir)
    return block


def reset(project_dir: Path) -> None:
    """Let the file point at phase 0, every client group on the source, as before a migration."""
    path = path_of(project_dir)
    if not path.exists():
        return
    config = parse(config_file.read(path, STACK), STACK)
    groups = dict.fromkeys(config.migration.client_groups, Placement.SOURCE)
    config_file.write_migration(path, Standing(groups=groups), permit=None, epochs={})


def _keep(project_dir: Path, config: StackConfig, chosen: Path) -> Block:
    """The ports of the file, or others where those were not a person's choice."""
    if config.local is None:
        msg = (
            f"expected target local in {path_of(project_dir)}, saw {config.target}. Remove the file"
        )
        raise RefusedError(msg)
    base = config.local.port_base
    found = port_block.take(base)
    if isinstance(found, Block):
        return found
    is_ours = chosen.exists() and chosen.read_text().strip() == str(base)
    if is_ours:
        return port_block.choose(project_dir)
    holder = (
        f"port {found} held by {ports.owner_of(found)}"
        if found is not None
        else "them held by the demo of another checkout"
    )
    msg = (
        f"expected ports {base} to {base + port_block.SIZE - 1} to be free, as port_base in "
        f"{path_of(project_dir)} says, saw {holder}. Stop it, change port_base, or remove the "
        "file: then free ports are chosen"
    )
    raise RefusedError(msg)


def _with_base(text: str, base: int) -> str:
    return _PORT_BASE.sub(lambda found: f"{found['key']}{base}", text, count=1)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)
