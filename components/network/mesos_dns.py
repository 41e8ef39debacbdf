"""What Mesos-DNS starts from: its configuration, and the script that becomes it.

Masters ask who reads their state, and Mesos-DNS knows one way to be told: `principal` and `secret`
in its one JSON file (its docs/docs/configuration-parameters.md, `mesosCredentials`). The rendered
file of a member is therefore a script. At its start it puts that JSON together with the secret that
is mounted, in the member's private folder, which is of memory where there are pods. So the secret
is in no rendered file, no argument and no variable that a process passes on.

The script takes a shell, `cat` and `mkdir`, and nothing of this platform. No input or output: it is
a text.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.mesos.access import MESOS_DNS

# Where published images have it, whose PATH does not.
_IN_IMAGE = "/mesos-dns"


@dataclass(frozen=True)
class Instance:
    """One server. `secret_file` holds `principal:secret` for masters; what is made of it lies in
    `private_dir`. `program` is a name on PATH or a path."""

    config: Mapping[str, Any]
    secret_file: str
    private_dir: str
    program: str = "mesos-dns"


def script(instance: Instance) -> str:
    """The text of the script that prepares and becomes Mesos-DNS."""
    # Credentials come after all else, so the object's end is left away.
    text = json.dumps(dict(instance.config), indent=2).removesuffix("\n}")
    secret_file = shlex.quote(instance.secret_file)
    program = shlex.quote(instance.program)
    return f"""\
#!/bin/sh
set -eu
umask 077
refuse() {{
    echo "$1" >&2
    exit 1
}}
private={shlex.quote(instance.private_dir)}
mkdir -p "$private"

program="$(command -v {program} || echo {_IN_IMAGE})"
[ -x "$program" ] || refuse "expected {instance.program} on PATH or as {_IN_IMAGE}, saw neither: \
give an image that has Mesos-DNS in services.discovery.image"

[ -r {secret_file} ] || refuse "expected a secret in {instance.secret_file}, saw none that can be \
read: fill it"
credential="$(cat {secret_file})"
case "$credential" in
# What JSON would want another form of; a secret is no text of somebody's.
*[[:cntrl:]\\"\\\\]*) credential= ;;
esac
case "$credential" in
{MESOS_DNS}:?*) ;;
*) refuse "expected {MESOS_DNS}:<secret without quotes, backslashes and control characters> in \
{instance.secret_file}, saw another form: write it anew" ;;
esac
{{
    cat <<'END'
{text},
  "mesosAuthentication": "basic",
END
    # The shell's own: no process has the secret as an argument.
    printf '  "mesosCredentials": {{"principal": "%s", "secret": "%s"}}\\n}}\\n' \\
        {MESOS_DNS} "${{credential#*:}}"
}} > "$private/mesos-dns.json"
unset credential
exec "$program" -config "$private/mesos-dns.json" -logtostderr
"""
