"""Programs whose options carry a secret without saying so: a table of them, and which of its rows
hold for a command line. `redaction` applies them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple


class Program(NamedTuple):
    """Where secrets stand in a command line: joined to an option, after one, or so many words
    after a word."""

    joined: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    words: tuple[tuple[re.Pattern[str], int], ...] = ()
    """A pattern of the word, and how far behind it the secret stands, options not counted."""
    account: bool = False
    """An argument may be `user/password@database`."""
    clusters: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = ()
    """Several options of one letter behind one dash, the last of which takes a secret, joined to it
    (group 2) or as the next argument; and what that may be without being one."""


def _word(pattern: str, distance: int) -> tuple[re.Pattern[str], int]:
    return re.compile(pattern), distance


NONE = Program()
# Of whichever program: `docker login -p x`, `helm registry login -p x`.
_LOGIN = Program(joined=("-p",), after=("-p",))
_RUNTIMES = frozenset(("docker", "podman", "nerdctl", "crictl", "buildah", "skopeo"))
_MYSQL = Program(joined=("-p",), words=(_word("password", 1),))
_MONGO = Program(joined=("-p",), after=("-p",))
_SNMP = Program(joined=("-c", "-A", "-X"), after=("-c", "-A", "-X"))
_CAPITAL_P = Program(joined=("-P",), after=("-P", "--pw"))
_LOWER_P = Program(after=("-p", "-pw"))
_LDAP = Program(
    joined=("-w",),
    after=("-w",),
    clusters=((re.compile(r"(-[AcCILMnNQtuvxZ]{1,16}w)(.*)", re.DOTALL), re.compile(r"(?!)")),),
)
_SMB = Program(after=("-U", "--user"))
_ORACLE = Program(account=True)
PROGRAMS: Mapping[str, Program] = {
    **dict.fromkeys(
        ("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlcheck", "mysqlshow"), _MYSQL
    ),
    **dict.fromkeys(("mariadb", "mariadb-dump", "mariadb-admin"), _MYSQL),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore", "mongoexport"), _MONGO),
    **dict.fromkeys(("snmpwalk", "snmpget", "snmpbulkwalk", "snmpset"), _SNMP),
    **dict.fromkeys(("mosquitto_pub", "mosquitto_sub", "ipmitool"), _CAPITAL_P),
    **dict.fromkeys(("sqlcmd", "tsql", "isql", "osql", "bcp", "zip", "unzip"), _CAPITAL_P),
    **dict.fromkeys(("cqlsh", "nodetool", "usermod", "useradd", "az"), _LOWER_P),
    **dict.fromkeys(("ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldappasswd"), _LDAP),
    **dict.fromkeys(("smbclient", "rpcclient"), _SMB),
    **dict.fromkeys(("sqlplus", "rman", "sqlldr", "exp", "imp", "expdp", "impdp"), _ORACLE),
    **dict.fromkeys(("7z", "7za", "7zr"), Program(joined=("-p",))),
    "sshpass": Program(joined=("-p",), after=("-p",)),
    "redis-cli": Program(joined=("-a",), after=("-a",)),
    "curl": Program(
        joined=("-u", "-U"),
        after=("-u", "--user", "-U", "--proxy-user"),
        # Cookies, or the name of a file with them.
        clusters=(
            (
                re.compile(r"(-[#0-9aBfgGiIjJklLMnNOpqRsSvVZ]{0,32}b)(.*)", re.DOTALL),
                re.compile(r"[^=]*"),
            ),
        ),
    ),
    "openssl": Program(after=("-passin", "-passout", "-pass", "-k", "-K")),
    "consul": Program(after=("-encrypt", "--encrypt")),
    "serf": Program(after=("-encrypt",)),
    "nomad": Program(after=("-encrypt",)),
    "kubectl": Program(after=("--from-literal",)),
    "lftp": Program(after=("-u",)),
    "xfreerdp": Program(joined=("/p:",)),
    "gitlab-runner": Program(after=("-r",)),
    "caddy": Program(after=("--plaintext", "-p")),
    # With `-n`, which may stand apart, it takes no file.
    "htpasswd": Program(
        words=(_word(r"-(?!\w*n)(?=\w*b)\w{1,64}", 3), _word(r"-(?=\w*n)\w{1,64}", 2))
    ),
    "vault": Program(words=(_word("login|unseal|rekey|generate-root", 1),)),
    "mc": Program(words=(_word("set", 4), _word("add", 3), _word("add", 4))),
    "rabbitmqctl": Program(words=(_word("add_user|change_password|authenticate_user", 2),)),
    "nmcli": Program(words=(_word("password", 1),)),
    "ngrok": Program(words=(_word("(?:add-)?authtoken", 1),)),
    "npm": Program(words=(_word(".*:_(?:authToken|auth|password)", 1),)),
    "aws": Program(words=(_word("aws_(?:secret_access_key|session_token)", 1),)),
    "wpa_passphrase": Program(words=(_word(".*wpa_passphrase", 2),)),
}
# `-u user:group` of these tells no password.
_USER_AND_GROUP = _RUNTIMES | {"su", "sudo", "setpriv", "chroot", "runuser", "start-stop-daemon"}
LOOKED_AT = 4
# What stands behind these is a name of somebody's choice: `docker run --name mysql -p 80:80 x`.
_NAMING = frozenset(("--name", "--hostname", "-h", "--network", "--link", "--namespace"))
_UNIONS = 256
FLAGS = frozenset(("-cancel", "-init", "-migrate", "-reset", "-status", "-help", "--help"))
"""Options that stand where a secret may stand, and are none."""


def program(before: str, argument: str, known: Program) -> Program:
    """What is known of the programs of a command line, once one more argument has been read.

    Programs run others (`docker exec db mysql`, `timeout 5 nice -n 10 mysql`), so every argument
    may name one. It may be called so by chance, too (`mysql --host docker`): what is known of each
    holds, and a line that only looks so has more hidden than it need be.
    """
    if before in _NAMING:
        return known
    found = _LOGIN if argument == "login" else PROGRAMS.get(argument.rpartition("/")[2], known)
    return known if found is known else _united(known, found)


@lru_cache(_UNIONS)
def _united(one: Program, other: Program) -> Program:
    # Each once: a line may name a program a thousand times.
    return Program(
        tuple(dict.fromkeys(one.joined + other.joined)),
        tuple(dict.fromkeys(one.after + other.after)),
        tuple(dict.fromkeys(one.words + other.words)),
        one.account or other.account,
        tuple(dict.fromkeys(one.clusters + other.clusters)),
    )


def takes_user_and_group(arguments: Sequence[str]) -> bool:
    """Whether `user:group` is what it seems."""
    return any(one.rpartition("/")[2] in _USER_AND_GROUP for one in arguments[:LOOKED_AT])
