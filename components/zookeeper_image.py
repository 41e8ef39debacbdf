"""What a server starts from in a container of the official image, or of one laid out like it.

The image brings Java, bash and ZooKeeper's jars; its own entry point would write a configuration
from variables, and cannot do what we need: start above another ensemble's epoch, keep the super
user's digest out of arguments and variables, and write nowhere but into its volume and /tmp. So a
member's file is a script, which prepares the data folder and then becomes the server.

Who votes is the ensemble's own knowledge once it has begun: each server keeps beside its data what
was agreed last, and a member's file says only how it began. One that has no vote follows those who
have; `controllers.caretaker` gives it one.

With a certificate, servers talk to each other over TLS alone, and to clients on a second port; the
first one stays, because Mesos' own client library knows no TLS. Java wants key and certificate in
one file, which a loop beside the server makes anew when they are renewed.

No input or output: the script is a text.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

# `srvr` and `cons` are what a migration asks for (sessions, transaction ids), the others people do.
FOUR_LETTER_WORDS = ("srvr", "cons", "mntr", "ruok", "isro")
_METRICS = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"
_NETTY = "org.apache.zookeeper.server.NettyServerCnxnFactory"
_X509 = "org.apache.zookeeper.server.auth.X509AuthenticationProvider"
_SASL = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
_LOGIN = "org.apache.zookeeper.server.auth.DigestLoginModule"
# The wait between two looks at a certificate, which is renewed days before it ends.
_RENEWAL_S = 60
_LIBRARY = "/apache-zookeeper-*/lib"
_LOGBACK = """\
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5p [%t] %c{1}: %m%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"""


_LOGIN_OPTION = '    -Djava.security.auth.login.config="$conf/jaas.conf" \\\n'


@dataclass(frozen=True)
class Tls:
    """`certificate_dir` holds `tls.crt`, `tls.key` (PKCS 8) and `ca.crt`; peers and, on
    `secure_port`, clients must show a certificate of that authority."""

    certificate_dir: str
    secure_port: int


@dataclass(frozen=True)
class Server:
    """One server of an ensemble; `peers` are all of them by id, as
    `host:quorum:election;host:client`. The first `voters` of them vote in an ensemble that begins,
    None: all.

    `sasl_files` hold `user:password` each: who may say by SASL (DIGEST-MD5) who they are.
    """

    myid: int
    data_dir: str
    temporary_dir: str
    listen_host: str
    admin_port: int
    metrics_port: int
    peers: tuple[str, ...]
    tick_time_ms: int
    heap_mb: int
    initial_epoch: int | None
    super_file: str
    tls: Tls | None = None
    sasl_files: tuple[str, ...] = ()
    library: str = _LIBRARY
    voters: int | None = None

    @property
    def client_port(self) -> int:
        """Where clients reach it, which its members are told too."""
        return int(self.peers[self.myid - 1].rpartition(":")[2])

    @property
    def conf_dir(self) -> str:
        """Where the script writes what the server reads."""
        return f"{self.temporary_dir}/zookeeper"


def configuration(server: Server) -> str:
    """The text of `zoo.cfg`, without the super user's digest."""
    lines = [
        f"tickTime={server.tick_time_ms}",
        "initLimit=20",
        "syncLimit=10",
        f"dataDir={server.data_dir}",
        "maxClientCnxns=0",
        f"4lw.commands.whitelist={','.join(FOUR_LETTER_WORDS)}",
        "admin.enableServer=true",
        # It tells and takes commands from whoever reaches it: those beside it, and nobody else.
        "admin.serverAddress=127.0.0.1",
        f"admin.serverPort={server.admin_port}",
        f"metricsProvider.className={_METRICS}",
        f"metricsProvider.httpHost={server.listen_host}",
        f"metricsProvider.httpPort={server.metrics_port}",
        "extendedTypesEnabled=true",
        "autopurge.snapRetainCount=5",
        "autopurge.purgeInterval=6",
        "standaloneEnabled=false",
        # By the super user alone, as whom no client of the platform's works.
        "reconfigEnabled=true",
        # A pod's own name may not resolve yet while it starts.
        "quorumListenOnAllIPs=true",
        *(_encryption(server, server.tls) if server.tls else ()),
        *([f"authProvider.sasl={_SASL}"] if server.sasl_files else ()),
    ]
    return "\n".join(lines) + "\n"


def beginning(server: Server) -> str:
    """Whom a server without a past takes for members: those that vote, and itself, so that servers
    without data are never a majority of what one of them knows."""
    voters = len(server.peers) if server.voters is None else server.voters
    known = sorted({*range(1, voters + 1), server.myid})
    return "".join(f"{_line(server, number)}\n" for number in known)


def _line(server: Server, number: int) -> str:
    return f"server.{number}={server.peers[number - 1]}"


def _encryption(server: Server, tls: Tls) -> list[str]:
    stores = {
        "keyStore.location": f"{server.conf_dir}/keystore.pem",
        "trustStore.location": f"{server.conf_dir}/truststore.pem",
        "clientAuth": "need",
    }
    return [
        f"serverCnxnFactory={_NETTY}",
        f"secureClientPort={tls.secure_port}",
        f"secureClientPortAddress={server.listen_host}",
        f"authProvider.x509={_X509}",
        "sslQuorum=true",
        "sslQuorumReloadCertFiles=true",
        "client.certReload=true",
        # A client's address says nothing: pods come from anywhere.
        "ssl.clientHostnameVerification=false",
        *(f"ssl.{name}={value}" for name, value in stores.items()),
        *(f"ssl.quorum.{name}={value}" for name, value in stores.items()),
    ]


def ready_command(client_port: int) -> tuple[str, ...]:
    """Ends with 0 when the server of this container serves in a quorum.

    The pages of administration answer 200 also while it does not, so the server itself is asked.
    """
    ask = f'exec 3<>/dev/tcp/127.0.0.1/{client_port} && printf srvr >&3 && grep -q "^Mode: " <&3'
    return ("bash", "-c", ask)


def script(server: Server) -> str:
    """The text of the script that prepares and becomes a server."""
    epoch = "" if server.initial_epoch is None else str(server.initial_epoch)
    login = _LOGIN_OPTION if server.sasl_files else ""
    return f"""\
#!/usr/bin/env bash
set -euo pipefail
umask 077
data={shlex.quote(server.data_dir)}
conf={shlex.quote(server.conf_dir)}
myid={server.myid}
epoch={shlex.quote(epoch)}
mkdir -p "$data/version-2" "$conf"

if [ -e "$data/myid" ] && [ "$(cat "$data/myid")" != "$myid" ]; then
    echo "expected the data of server $myid in $data, saw that of server $(cat "$data/myid"):" \\
        "give this member its own volume" >&2
    exit 1
fi
printf '%s' "$myid" > "$data/myid"

if [ -n "$epoch" ]; then
    seen="$(cat "$data/version-2/currentEpoch" 2>/dev/null || true)"
    # What an ensemble of a former life left on this volume must not be taken for this one's.
    if [ -n "$seen" ] && [ "$seen" -lt "$epoch" ]; then
        mv "$data/version-2" "$data/former-$seen-$(date +%s)"
        mkdir "$data/version-2"
        rm -f "$data"/zoo.cfg.dynamic*
    fi
    # Clients that have seen higher transaction ids than a fresh ensemble's would never connect.
    if [ -z "$(ls -A "$data/version-2")" ]; then
        printf '%s' "$epoch" > "$data/version-2/acceptedEpoch"
        printf '%s' "$epoch" > "$data/version-2/currentEpoch"
    fi
fi

{_members(server)}cat > "$data/zoo.cfg" <<'END'
{configuration(server)}END
echo "dynamicConfigFile=$members" >> "$data/zoo.cfg"
cat > "$conf/logback.xml" <<'END'
{_LOGBACK}END

identity="$(cat {shlex.quote(server.super_file)})"
if [[ "$identity" != super:?* ]]; then
    echo "expected super:<password> in the super user's secret, saw another form: write it anew" >&2
    exit 1
fi
sum="$(printf '%s' "$identity" | sha1sum | cut -c1-40)"
# A shell's variable cannot hold the bytes, so they go from one program to the next.
digest="$(printf "$(printf '%s' "$sum" | sed 's/../\\\\x&/g')" | base64)"
# A file of arguments: neither an argument, which anybody reads, nor a part of a volume's copies.
printf -- '-Dzookeeper.DigestAuthenticationProvider.superDigest=super:%s\\n' "$digest" \\
    > "$conf/java.args"
{_stores(server.tls)}{_logins(server)}
library=({server.library})
exec java @"$conf/java.args" -Xmx{server.heap_mb}m -XX:+ExitOnOutOfMemoryError \\
    -Dzookeeper.extendedTypesEnabled=true \\
    -Dlogback.configurationFile="$conf/logback.xml" \\
{login}    -cp "${{library[0]}}/*" \\
    org.apache.zookeeper.server.quorum.QuorumPeerMain "$data/zoo.cfg"
"""


def _members(server: Server) -> str:
    """Finds the file that says who votes, or makes it."""
    return f"""\
# The server itself writes who votes beside its own file, by versions.
members=""
for file in "$data"/zoo.cfg.dynamic.*; do
    version="${{file##*.}}"
    if [[ "$version" =~ ^[0-9a-f]+$ ]]; then
        if [ -z "$members" ] || ((16#$version > 16#${{members##*.}})); then members="$file"; fi
    fi
done
if [ -z "$members" ]; then
    members="$data/zoo.cfg.dynamic"
    cat > "$members" <<'END'
{beginning(server)}END
elif ! grep -q "^server[.]$myid=" "$members"; then
    # It has no vote, and does not start without a place in what it knows.
    {{ grep '^server[.]' "$members" && echo {shlex.quote(_line(server, server.myid))}; }} \
        > "$data/members.new"
    rm -f "$data"/zoo.cfg.dynamic*
    members="$data/zoo.cfg.dynamic"
    mv "$data/members.new" "$members"
fi
"""


def _stores(tls: Tls | None) -> str:
    """Makes the files that Java reads, once and again whenever the certificate was renewed."""
    if tls is None:
        return ""
    given = shlex.quote(tls.certificate_dir)
    return f"""
for file in tls.crt tls.key ca.crt; do
    if [ ! -s {given}/$file ]; then
        echo "expected $file of this server's certificate in {tls.certificate_dir}, saw none:" \\
            "fill the Secret that it is mounted from" >&2
        exit 1
    fi
done
if ! grep -q -e '^-----BEGIN PRIVATE KEY' {given}/tls.key; then
    echo "expected a key of PKCS 8 (BEGIN PRIVATE KEY) in {tls.certificate_dir}/tls.key, saw" \\
        "another form, which Java does not read: openssl pkcs8 -topk8 -nodes makes it" >&2
    exit 1
fi
# Whole files take the place of others, so that nobody reads half of one.
make_stores() {{
    cat {given}/tls.key {given}/tls.crt > "$conf/keystore.new"
    cat {given}/ca.crt > "$conf/truststore.new"
    for store in keystore truststore; do
        cmp -s "$conf/$store.new" "$conf/$store.pem" || mv "$conf/$store.new" "$conf/$store.pem"
    done
}}
make_stores
server=$$
# It ends with the server, and holds none of its channels.
(until timeout {_RENEWAL_S} tail --pid="$server" -f /dev/null; do make_stores || true; done) \\
    < /dev/null > /dev/null 2>&1 &
"""


def _logins(server: Server) -> str:
    """Makes the list of SASL's users."""
    if not server.sasl_files:
        return ""
    files = " ".join(map(shlex.quote, server.sasl_files))
    return f"""
users=""
form='^[A-Za-z0-9_.-]+:[^"\\\\]+$'
for file in {files}; do
    identity="$(cat "$file")"
    if [[ ! "$identity" =~ $form ]]; then
        echo "expected user:<password> in $file, without quotes and backslashes, saw another" \\
            "form: write it anew" >&2
        exit 1
    fi
    users="$users user_${{identity%%:*}}=\\"${{identity#*:}}\\""
done
printf 'Server {{\\n  {_LOGIN} required%s;\\n}};\\n' "$users" > "$conf/jaas.conf"
"""
