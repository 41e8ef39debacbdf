"""ACLs that let nobody but the engine write. Pure.

ACLs stand per znode and are not inherited, so a side is fenced by replacing every node's ACL. A
fenced ACL keeps each identity of the original with READ alone, so that readers go on, and adds an
entry that nobody can authenticate as: it marks the ACL as fenced and keeps it from ever being
empty. The engine writes on as the ensemble's super user, to whom ACLs do not apply. Originals stand
in the base table.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from sync_engine.znode import PERM_READ, Acl

# The hash part is no base64 of a SHA-1, so no password ever matches it.
MARKER = Acl(PERM_READ, "digest", "zksync-fenced:no-password-has-this-hash")
# A tree has a handful of them, and they are looked at with every write.
_ACLS_CACHED_MAX = 1024
_EVERYBODY_READS = Acl(PERM_READ, "world", "anyone")


def fence(acl: Iterable[Acl]) -> tuple[Acl, ...]:
    """The fenced form of an ACL; fencing twice changes nothing."""
    readers = {Acl(PERM_READ, e.scheme, e.id) for e in acl if e.perms & PERM_READ and e != MARKER}
    return (*sorted(readers), MARKER)


def fence_for_all(acl: Iterable[Acl]) -> tuple[Acl, ...]:
    """The fenced form for an election path, which every detector must be able to read."""
    return fence((*acl, _EVERYBODY_READS))


@lru_cache(maxsize=_ACLS_CACHED_MAX)
def is_fenced(acl: tuple[Acl, ...]) -> bool:
    """Whether an ACL is a fenced one."""
    return any(e.scheme == MARKER.scheme and e.id == MARKER.id for e in acl)


def same_acl(left: tuple[Acl, ...], right: tuple[Acl, ...]) -> bool:
    """Whether two ACLs say the same; their order has no meaning."""
    return left == right or set(left) == set(right)


@lru_cache(maxsize=_ACLS_CACHED_MAX)
def is_unreadable(acl: tuple[Acl, ...]) -> bool:
    """Whether the server masked a digest, because the reader has no ADMIN right."""
    return any(e.is_masked for e in acl)
