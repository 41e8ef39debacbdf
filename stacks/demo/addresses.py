"""Where the parts of the running stack answer, by the stack's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.targets.local import LocalTarget
from stacks.topology import Color


@dataclass(frozen=True)
class Addresses:
    """What exists now; what does not is empty."""

    run_dir: Path
    framework: str = ""
    marathon: tuple[str, ...] = ()
    clients: Mapping[str, str] = field(default_factory=dict[str, str])
    engine: str = ""
    engine_token: Path | None = None
    masters: Mapping[Color, tuple[str, ...]] = field(default_factory=dict[Color, tuple[str, ...]])
    agents: Mapping[Color, tuple[str, ...]] = field(default_factory=dict[Color, tuple[str, ...]])
    zookeeper: Mapping[Color, str] = field(default_factory=dict[Color, str])

    @classmethod
    def of(cls, outputs: Mapping[str, Any]) -> Addresses:
        """Read a stack's outputs."""
        engine: Mapping[str, str] = outputs.get("engine") or {}
        frameworks: Mapping[str, str] = outputs.get("frameworks") or {}

        def each(tier: str) -> dict[Color, tuple[str, ...]]:
            found = {color: outputs.get(f"{color}_{tier}") or () for color in Color}
            return {color: tuple(addresses) for color, addresses in found.items() if addresses}

        hosts = {color: str(outputs.get(f"{color}_zookeeper") or "") for color in Color}
        token = engine.get("token_file")
        return cls(
            run_dir=Path(str(outputs["run_dir"])),
            framework=frameworks.get("sample", ""),
            marathon=tuple(outputs.get("marathon") or ()),
            clients=dict(outputs.get("clients") or {}),
            engine=engine.get("url", ""),
            engine_token=Path(token) if token else None,
            masters=each("masters"),
            agents=each("agents"),
            zookeeper={color: text for color, text in hosts.items() if text},
        )

    def secret(self, secret: str) -> Path:
        """File that holds a secret of the stack."""
        return Path(LocalTarget(self.run_dir, 0).secret(secret))

    def program_of_clients(self, group: str) -> str:
        """Name of a client group's process."""
        return f"clients-{group}-0"

    def log_of_clients(self, group: str) -> Path:
        """A client group's log of acknowledged writes."""
        return self.run_dir / self.program_of_clients(group) / "data" / "acks.jsonl"
