"""Preview stack `local` through the Automation API and print what an update would do.

Run it in a checkout after `make demo` or `make tools`:

    .venv/bin/python examples/preview_local.py [STACK]
"""

from __future__ import annotations

import sys
from pathlib import Path

from stacks import environment
from stacks.automation import StackRunner
from stacks.errors import StackError, disk_trouble


def main(stack: str = "local") -> int:
    """Print one line a step; exit status 0 unless the preview was refused."""
    project_dir = Path(__file__).resolve().parent.parent
    try:
        environment.apply(project_dir)
        runner = StackRunner(stack, project_dir)
        runner.init()
        result = runner.preview()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(disk_trouble(error), file=sys.stderr)
        return 1
    for step in result.steps:
        protected = " (protected)" if step.protect else ""
        print(f"{step.op:8} {step.part:12} {step.name}{protected}")
    print(f"{len(result.changes)} of {len(result.steps)} resources would change")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
