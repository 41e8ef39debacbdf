"""One real ZooKeeper server of an ensemble on this machine.

Prepares the data folder and `zoo.cfg` (mode 0600, because it holds the super user's digest, which
must never stand in an argument list) and then becomes the Java process, so that a supervisor
watches the server itself.

A fresh ensemble that takes over clients of another one must give out higher transaction ids than
that one, or those clients never connect. So an empty data folder starts with `acceptedEpoch` and
`currentEpoch` files when the settings name an epoch; a folder with data is left alone.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import socket
from pathlib import Path

from components import whole_file
from stacks.local.errors import StartError
from stacks.local.process import become, config_file, end, make_folder, read_secret
from stacks.local.settings import SettingsError, ZooKeeperSettings
from tools import locate

ZOOKEEPER = "zookeeper-3.9.4"
# A server preallocates 64 MB of transaction log and writes a snapshot beside it.
_FREE_BYTES_MIN = 128 * 1024 * 1024
# Each request is handled by the thread that reads it, and each commit by the one that orders it.
_NO_POOLS = (
    "-Dzookeeper.nio.numWorkerThreads=0",
    "-Dzookeeper.commitProcessor.numWorkerThreads=0",
)
_LOGBACK = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5p [%t] %c{1}: %m%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"""


def prepare(settings: ZooKeeperSettings) -> Path:
    """Make the data folder ready; returns the path of `zoo.cfg`.

    Raises:
        StartError: no space, a folder or a secret file that cannot be used, or another server's
        data.
    """
    data = settings.data_dir
    make_folder(data)
    free = shutil.disk_usage(data).free
    if free < _FREE_BYTES_MIN:
        msg = (
            f"expected {_FREE_BYTES_MIN >> 20} MB free for {data}, saw {free >> 20} MB: make space"
        )
        raise StartError(msg)
    _write_id(data / "myid", settings.myid)
    version = data / "version-2"
    make_folder(version)
    if settings.initial_epoch is not None and not any(version.iterdir()):
        for name in ("acceptedEpoch", "currentEpoch"):
            (version / name).write_text(str(settings.initial_epoch))
    (data / "logback.xml").write_text(_LOGBACK)
    config = data / "zoo.cfg"
    digest = super_digest(read_secret(settings.super_digest_file))
    whole_file.write(config, render(settings, digest))
    return config


def _write_id(path: Path, myid: int) -> None:
    if path.exists() and path.read_text().strip() != str(myid):
        msg = (
            f"expected the data of server {myid} in {path.parent}, saw that of server "
            f"{path.read_text().strip()}: configure the right folder"
        )
        raise StartError(msg)
    path.write_text(str(myid))


def super_digest(identity: str | None) -> str | None:
    """Digest of `user:password` as ZooKeeper wants it, `user:base64(sha1(user:password))`."""
    if identity is None:
        return None
    user, colon, password = identity.partition(":")
    if user != "super" or not colon or not password:
        msg = "expected super:<password> in the super digest file, saw another form: write it anew"
        raise StartError(msg)
    digest = base64.b64encode(hashlib.sha1(identity.encode(), usedforsecurity=False).digest())
    return f"{user}:{digest.decode()}"


def render(settings: ZooKeeperSettings, digest: str | None) -> str:
    """The text of `zoo.cfg`."""
    lines = [
        f"tickTime={settings.tick_time_ms}",
        f"initLimit={settings.init_limit_ticks}",
        f"syncLimit={settings.sync_limit_ticks}",
        f"dataDir={settings.data_dir.absolute()}",
        f"clientPortAddress={settings.client_host}",
        f"clientPort={settings.client_port}",
        "maxClientCnxns=0",
        "4lw.commands.whitelist=*",
        "admin.enableServer=false",
        "extendedTypesEnabled=true",
        "autopurge.purgeInterval=0",
    ]
    if digest is not None:
        lines.append(f"DigestAuthenticationProvider.superDigest={digest}")
    # A standalone server knows no epochs: one that must start above another is a quorum of one.
    if len(settings.servers) > 1 or settings.initial_epoch is not None:
        lines.append("standaloneEnabled=false")
        lines.append("reconfigEnabled=false")
        lines.extend(
            f"server.{server.id}={server.host}:{server.quorum_port}:{server.election_port}"
            for server in settings.servers
        )
    return "\n".join(lines) + "\n"


def check_ports(settings: ZooKeeperSettings) -> None:
    """Bind each port once; Java would only say so after a page of log.

    Raises:
        StartError: naming the port that is in use.
    """
    ports = {"client": settings.client_port}
    if len(settings.servers) > 1:
        ports |= {"quorum": settings.quorum_port, "election": settings.election_port}
    for name, port in ports.items():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.client_host, port))
            except OSError as error:
                msg = (
                    f"expected {name} port {port} of {settings.client_host} to be free, saw "
                    f"{error.strerror}: stop what uses it, or configure another port"
                )
                raise StartError(msg) from None


def _jars(settings: ZooKeeperSettings) -> list[Path]:
    folder = settings.jars_dir
    if folder is None:
        try:
            folder = locate.folder(ZOOKEEPER) / "lib"
        except locate.ToolMissingError as error:
            raise StartError(str(error)) from None
    jars = sorted(folder.glob("*.jar"))
    if not any(jar.name.startswith("zookeeper-") for jar in jars):
        msg = f"expected ZooKeeper's jars in {folder}, saw {len(jars)} others: run `make tools`"
        raise StartError(msg)
    return jars


def command(settings: ZooKeeperSettings, config: Path) -> list[str]:
    """The Java command line; it holds no secret.

    Raises:
        StartError: there is no Java, or the jars are missing.
    """
    java = locate.java()
    if java is None:
        msg = "expected java (JDK 17 or newer) on PATH or in JAVA_HOME, saw none: install a JDK"
        raise StartError(msg)
    return [
        java,
        f"-Xmx{settings.heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-Dzookeeper.extendedTypesEnabled=true",
        *(() if settings.thread_pools else _NO_POOLS),
        f"-Dlogback.configurationFile={settings.data_dir.absolute() / 'logback.xml'}",
        "-cp",
        ":".join(map(str, _jars(settings))),
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        str(config.absolute()),
    ]


def main() -> None:
    """Start one server from its configuration file."""
    try:
        settings = ZooKeeperSettings.read(config_file(__doc__ or ""))
        arguments = command(settings, settings.data_dir / "zoo.cfg")
        check_ports(settings)
        prepare(settings)
    except (SettingsError, StartError) as error:
        end(str(error))
    become(arguments)


if __name__ == "__main__":
    main()
