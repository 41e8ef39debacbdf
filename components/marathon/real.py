"""What the real Marathon starts from: its command line, and the script that becomes it.

A member's file is a script, because the published image has a shell and nothing of this platform.
The same script runs on one machine where `marathon` is on PATH.

Marathon makes a flag of every variable `MARATHON_*`, and writes all flags into its first log line.
So no secret is a flag, nor such a variable. Its own with masters is a file; that of its HTTP
interface goes by `MESOSPHERE_HTTP_CREDENTIALS`, which is no flag. ZooKeeper's is a part of `--zk`
and has no other way: with one, all arguments are lines of a file (`@FILE`), which the library that
reads its command line (Scallop) knows, and which is what the log shows.

libmesos in it is called back by masters, at an address and a port that they must reach.

No input or output: the script is a text.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from components.marathon.flags import Flags, Value, with_ours, words
from components.mesos.access import MARATHON

# Where the published image has it, whose PATH does not.
_IN_IMAGE = "/marathon/bin/marathon"
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared, not bound
# Of libmesos: masters take no shorter one, and neither does Marathon.
_SECRET_MIN = 8


@dataclass(frozen=True)
class Instance:
    """One instance. `master` and `zk` are `zk://host:port,…/path`, without credentials.

    `secret_file` holds `principal:secret` for masters, `http_file` `user:password` of its own HTTP
    interface, `identity_file` `user:password` for ZooKeeper. What is made of them lies in
    `private_dir`. `libprocess_port` None: any that is free; `heap_mb` None: what `JAVA_OPTS` says.
    `binary` None: that on PATH, or where the published image has it.
    """

    master: str
    zk: str
    hostname: str
    listen_host: str
    http_port: int
    private_dir: str
    framework_name: str = MARATHON
    mesos_user: str = "root"
    secret_file: str | None = None
    http_file: str | None = None
    identity_file: str | None = None
    libprocess_port: int | None = None
    heap_mb: int | None = None
    binary: str | None = None
    flags: Flags = field(default_factory=dict[str, Value])


def real_command(instance: Instance) -> tuple[str, ...]:
    """The command line of Marathon for an instance; nothing in it is a secret."""
    given: dict[str, Value] = {
        "master": instance.master,
        "zk": instance.zk,
        "ha": True,
        "hostname": instance.hostname,
        "http_address": instance.listen_host,
        "http_port": instance.http_port,
        "framework_name": instance.framework_name,
        "mesos_user": instance.mesos_user,
    }
    if instance.secret_file is not None:
        given |= {
            "mesos_authentication": True,
            "mesos_authentication_principal": MARATHON,
            "mesos_authentication_secret_file": _secret_file(instance),
        }
    return (instance.binary or "marathon", *words({**given, **with_ours(instance.flags)}))


def _secret_file(instance: Instance) -> str:
    return f"{instance.private_dir}/mesos-secret"


def script(instance: Instance) -> str:
    """The text of the script that prepares and becomes Marathon."""
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

# Each of them would be a flag, and Marathon ends for one that it does not know.
for name in $(env | sed -n 's/^\\(MARATHON_[A-Za-z0-9_]*\\)=.*/\\1/p'); do
    unset "$name"
done
{_address(instance)}{_java(instance)}{_binary(instance)}{_masters_secret(instance)}\
{_http_credentials(instance)}
{_become(instance)}"""


def _address(instance: Instance) -> str:
    """Where masters call it back."""
    if instance.listen_host == _EVERY_ADDRESS:
        found = ': "${POD_IP:?expected the address of this pod in POD_IP}"\n'
        found += 'LIBPROCESS_IP="$POD_IP"\n'
    else:
        found = f"LIBPROCESS_IP={shlex.quote(instance.listen_host)}\n"
    found += "export LIBPROCESS_IP\n"
    if instance.libprocess_port is not None:
        found += f"export LIBPROCESS_PORT={instance.libprocess_port}\n"
    return found


def _java(instance: Instance) -> str:
    return "" if instance.heap_mb is None else f"export JAVA_OPTS=-Xmx{instance.heap_mb}m\n"


def _binary(instance: Instance) -> str:
    if instance.binary is not None:
        return f"marathon={shlex.quote(instance.binary)}\n"
    return f"""\
marathon="$(command -v marathon || echo {_IN_IMAGE})"
[ -x "$marathon" ] || refuse "expected marathon on PATH or as {_IN_IMAGE}, saw neither: give an \
image that has Marathon in images.marathon"
"""


def _read(variable: str, file: str) -> str:
    """Reads a secret; a substitution leaves the final line break out."""
    place = shlex.quote(file)
    return f"""\
[ -r {place} ] || refuse "expected a secret in {file}, saw none that can be read: fill it"
{variable}="$(cat {place})"
"""


def _masters_secret(instance: Instance) -> str:
    if instance.secret_file is None:
        return ""
    return f"""
{_read("credential", instance.secret_file)}\
case "$credential" in
{MARATHON}:{"?" * _SECRET_MIN}*) ;;
*) refuse "expected {MARATHON}:<secret of {_SECRET_MIN} characters or more> in \
{instance.secret_file}, saw another form: write it anew" ;;
esac
# Every byte of the file is the secret.
printf '%s' "${{credential#*:}}" > {shlex.quote(_secret_file(instance))}
"""


def _http_credentials(instance: Instance) -> str:
    if instance.http_file is None:
        return ""
    return f"""
{_read("MESOSPHERE_HTTP_CREDENTIALS", instance.http_file)}\
case "$MESOSPHERE_HTTP_CREDENTIALS" in
# With another form Marathon would let everybody in.
?*:?*) export MESOSPHERE_HTTP_CREDENTIALS ;;
*) refuse "expected user:password in {instance.http_file}, saw another form: write it anew" ;;
esac
"""


def _become(instance: Instance) -> str:
    given = real_command(instance)[1:]
    if instance.identity_file is None:
        lines = "".join(f" \\\n    {shlex.quote(word)}" for word in given)
        return f'exec "$marathon"{lines}\n'
    place = given.index("--zk")
    others = "\n".join((*given[:place], *given[place + 2 :]))
    address = instance.zk.removeprefix("zk://")
    return f"""\
{_read("identity", instance.identity_file)}\
case "$identity" in
*[[:space:]@/\\"\\']* | *\\\\*) identity= ;;
esac
case "$identity" in
?*:?*) ;;
*) refuse "expected user:password without blanks, quotes, @, / and backslashes in \
{instance.identity_file}, saw another form: write it anew" ;;
esac
{{
    cat <<'END'
{others}
END
    printf -- '--zk\\nzk://%s@%s\\n' "$identity" {shlex.quote(address)}
}} > "$private/arguments"
exec "$marathon" "@$private/arguments"
"""


def ready_command(port: int, http_file: str) -> tuple[str, ...]:
    """Ends with 0 when the Marathon of this container answers `/ping`.

    It wants credentials there too, which a probe of the scheduler could not give without showing
    them.
    """
    ask = (
        f"exec 3<>/dev/tcp/127.0.0.1/{port}"
        f' && credential="$(printf %s "$(cat {shlex.quote(http_file)})" | base64 | tr -d "\\n")"'
        ' && printf "GET /ping HTTP/1.0\\r\\nAuthorization: Basic %s\\r\\n\\r\\n" "$credential" >&3'
        ' && IFS=" " read -r version status rest <&3 && [ "$status" = 200 ]'
    )
    return ("bash", "-c", ask)
