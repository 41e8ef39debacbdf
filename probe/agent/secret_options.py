"""Programs whose options carry a secret without saying so. Data only; see `redaction`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Program(NamedTuple):
    """Where secrets stand in a command line: joined to an option, after one, or so many words
    after a word."""

    joined: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    words: tuple[tuple[str, int], ...] = ()
    first: bool = False
    """The first argument is one that holds a secret: `user/password@database`."""


_NONE = Program()
_DOCKER = frozenset(("docker", "podman", "nerdctl"))
_MYSQL = Program(joined=("-p",))
_MONGO = Program(after=("-p",))
_SNMP = Program(after=("-c", "-A", "-X"))
_MQTT = Program(after=("-P",))
_PROGRAMS: Mapping[str, Program] = {
    **dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb"), _MYSQL),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore"), _MONGO),
    **dict.fromkeys(("snmpwalk", "snmpget", "snmpbulkwalk", "snmpset"), _SNMP),
    **dict.fromkeys(("mosquitto_pub", "mosquitto_sub", "ipmitool"), _MQTT),
    "sshpass": Program(joined=("-p",), after=("-p",)),
    "redis-cli": Program(after=("-a",)),
    "curl": Program(joined=("-u",), after=("-u", "--user", "-U", "--proxy-user")),
    "ldapsearch": Program(joined=("-w",), after=("-w",)),
    "ldapmodify": Program(joined=("-w",), after=("-w",)),
    "smbclient": Program(after=("-U",)),
    "openssl": Program(after=("-passin", "-passout", "-pass", "-k", "-K")),
    "az": Program(after=("-p",)),
    "sqlplus": Program(first=True),
    "htpasswd": Program(words=(("-b", 3), ("-nb", 2), ("-bn", 2), ("-bc", 3), ("-cb", 3))),
    "vault": Program(words=(("login", 1),)),
    "mc": Program(words=(("set", 4),)),
    "rabbitmqctl": Program(
        words=(("add_user", 2), ("change_password", 2), ("authenticate_user", 2))
    ),
}
_LOOKED_AT = 4
# `-u user:group` of these tells no password.
_USER_AND_GROUP = _DOCKER | {"su", "sudo", "setpriv", "chroot", "runuser", "start-stop-daemon"}


def program(arguments: Sequence[str]) -> Program:
    """What is known of a command line's program: `sudo mysql`, `docker login`: the first word that
    is known decides."""
    for argument in arguments[:_LOOKED_AT]:
        name = argument.rpartition("/")[2]
        if name in _DOCKER:
            # `docker run -p` publishes a port; only `docker login -p` tells a password.
            return Program(after=("-p",)) if "login" in arguments else _NONE
        if name in _PROGRAMS:
            return _PROGRAMS[name]
    return _NONE


def takes_user_and_group(arguments: Sequence[str]) -> bool:
    """Whether `user:group` is what it seems."""
    return any(one.rpartition("/")[2] in _USER_AND_GROUP for one in arguments[:_LOOKED_AT])
