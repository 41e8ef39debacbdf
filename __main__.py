"""Where Pulumi enters: it runs this file with the project folder as working directory."""

from pathlib import Path

from stacks.program import declare

declare(Path(__file__).resolve().parent)
