"""What can go wrong in the sync engine and between it and its callers.

::

    SyncError
    ├── RulesError                permanent: the rules file or a file it names cannot be used
    ├── LaneError                 a connection to an ensemble
    │   ├── ConnectionLostError   retryable: the connection broke; `sent`: outcome unknown
    │   ├── LaneBusyError         retryable: too many requests wait for the connection
    │   ├── LaneClosedError       permanent: the lane was closed by its owner
    │   ├── AuthFailedError       permanent: a server refuses the credentials
    │   ├── RequestTooLargeError  permanent: no server accepts a request of this size
    │   ├── UnsettledReadError    retryable: a znode changed with every read
    │   └── ProtocolError         retryable: an answer that cannot be read
    ├── ZkError                   an answer of ZooKeeper with an error code, for one request
    │   ├── NoNodeError, NodeExistsError, BadVersionError, NotEmptyError      permanent: decide anew
    │   ├── NoAuthError, InvalidAclError, BadArgumentsError                   permanent
    │   ├── NoChildrenForEphemeralsError, QuotaExceededError                  permanent
    │   ├── UnimplementedError                                                permanent
    │   ├── ThrottledError, RequestTimeoutError, SessionMovedError            retryable
    │   └── MultiFailedError      permanent: nothing of the transaction was applied
    ├── TreeFileError             permanent: an exported file is damaged or of another kind
    ├── EnsembleError             permanent: an ensemble answers, but not what is needed
    │   └── EnsembleUnreachableError   retryable: no answer
    ├── StateError                permanent: what the engine keeps is damaged, another's, unwritable
    │   ├── DamagedBaseError      permanent: the next start sets the file aside, and goes on
    │   └── SameEnsembleError     permanent: both sides lead to one ensemble
    ├── WentBackError             permanent: a side holds less than it did; an operator must look
    ├── UnprovenError             retryable: a side came back and has not shown yet what it is
    ├── MergeError                permanent: a merge hook did not make one version of two
    ├── FencedError               permanent: a newer engine has taken over; this one must not write
    └── EngineError               a running engine, seen from inside and from its client
        ├── EngineUnreachableError     retryable: no answer
        ├── EngineBusyError            retryable: not now
        └── EngineRefusedError         permanent: the engine refuses; `type` names its reason

Messages say what was expected, what was seen and what to do. They never hold credentials or data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class SyncError(Exception):
    """Root of this package's errors."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""


class RulesError(SyncError):
    """The rules file, or a file that it names, cannot be used."""


class LaneError(SyncError):
    """A connection to an ensemble cannot serve a request."""


class ConnectionLostError(LaneError):
    """The connection broke. With `sent`, the request may or may not have been applied."""

    retryable = True

    def __init__(self, message: str, *, sent: bool) -> None:
        self.sent = sent
        super().__init__(message)


class LaneBusyError(LaneError):
    """Too many requests wait for the connection already; nothing was sent."""

    retryable = True


class LaneClosedError(LaneError):
    """The lane was closed by its owner, or never started."""


class AuthFailedError(LaneError):
    """A server refuses the credentials; the lane does not try again."""


class RequestTooLargeError(LaneError):
    """A request that no server would accept: it would only ever look like a lost connection."""

    def __init__(self, *, size: int, size_max: int, what: str) -> None:
        self.size = size
        self.size_max = size_max
        super().__init__(
            f"{what}: expected a request of at most {size_max} bytes, saw {size}: split it, or "
            "raise jute.maxbuffer on every server and request_bytes_max here"
        )


class UnsettledReadError(LaneError):
    """A znode changed between every two reads, or a server does not reach what others have."""

    retryable = True


class ProtocolError(LaneError):
    """An answer that cannot be read."""

    retryable = True


class ZkError(SyncError):
    """An answer with an error code. `path` is None where the request names no path."""

    code: int = 0
    name: ClassVar[str] = "error"

    def __init__(self, path: str | None = None, *, code: int | None = None) -> None:
        if code is not None:
            self.code = code
        self.path = path
        where = f" for {path}" if path is not None else ""
        super().__init__(f"ZooKeeper answered {self.name} ({self.code}){where}")


class NoNodeError(ZkError):
    """No such znode, or no such parent on create."""

    code = -101
    name = "no node"


class NoAuthError(ZkError):
    """The ACL does not allow it."""

    code = -102
    name = "not allowed by the ACL"


class BadVersionError(ZkError):
    """The znode has another version than expected."""

    code = -103
    name = "bad version"


class NoChildrenForEphemeralsError(ZkError):
    """An ephemeral znode cannot be a parent."""

    code = -108
    name = "no children for ephemerals"


class NodeExistsError(ZkError):
    """The znode is there already."""

    code = -110
    name = "node exists"


class NotEmptyError(ZkError):
    """The znode has children and cannot be deleted."""

    code = -111
    name = "not empty"


class InvalidAclError(ZkError):
    """The server does not accept this ACL."""

    code = -114
    name = "invalid ACL"


class BadArgumentsError(ZkError):
    """The server does not accept the path or the flags."""

    code = -8
    name = "bad arguments"


class UnimplementedError(ZkError):
    """The server is too old for this request."""

    code = -6
    name = "unimplemented"


class SessionMovedError(ZkError):
    """The session goes on through another connection."""

    retryable = True
    code = -118
    name = "session moved"


class RequestTimeoutError(ZkError):
    """The server gave the request up, as a reconfiguration without a quorum does."""

    retryable = True
    code = -122
    name = "request timeout"


class QuotaExceededError(ZkError):
    """A hard quota forbids it."""

    code = -125
    name = "quota exceeded"


class ThrottledError(ZkError):
    """The server is overloaded and has not looked at the request."""

    retryable = True
    code = -127
    name = "throttled"


class MultiFailedError(ZkError):
    """Nothing of the transaction was applied. Operation `index` failed with `code`.

    `codes` holds one code an operation: 0 before the failed one, -2 (not tried) after it.
    """

    def __init__(self, index: int, code: int, codes: list[int]) -> None:
        self.index = index
        self.codes = codes
        super().__init__(None, code=code)
        reason = f"operation {index} of {len(codes)} answered {name_of(code)} ({code})"
        self.args = (f"ZooKeeper refused a transaction: {reason}",)


_KINDS: Sequence[type[ZkError]] = (
    NoNodeError,
    NoAuthError,
    BadVersionError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NotEmptyError,
    InvalidAclError,
    BadArgumentsError,
    UnimplementedError,
    SessionMovedError,
    RequestTimeoutError,
    QuotaExceededError,
    ThrottledError,
)
_BY_CODE = {kind.code: kind for kind in _KINDS}


def name_of(code: int) -> str:
    """The words for an error code."""
    return _BY_CODE.get(code, ZkError).name


def zk_error(code: int, path: str | None = None) -> ZkError:
    """The error for an answer's code; an unknown code gives a plain `ZkError`."""
    return _BY_CODE.get(code, ZkError)(path, code=code)


class TreeFileError(SyncError):
    """An exported file is damaged, cut short, or of another kind."""


class EnsembleError(SyncError):
    """An ensemble answers, but not what is needed."""


class EnsembleUnreachableError(EnsembleError):
    """An ensemble does not answer."""

    retryable = True


class StateError(SyncError):
    """What the engine keeps of itself is damaged, is another pair's, or cannot be written."""


class DamagedBaseError(StateError):
    """The base's file is damaged; the next start begins without it."""


class SameEnsembleError(StateError):
    """Both sides lead to the same ensemble."""


class WentBackError(SyncError):
    """A side was wiped, or restored from an older snapshot, while the engine ran."""


class UnprovenError(SyncError):
    """A side was away, and nobody has looked yet whether it is still what it was."""

    retryable = True


class MergeError(SyncError):
    """A merge hook failed, took too long or gave something else; the path waits for an operator."""


class FencedError(SyncError):
    """A newer engine has raised the epoch. Nothing that this one sends would be applied."""


class EngineError(SyncError):
    """A running engine, seen from inside and from its client."""


class EngineUnreachableError(EngineError):
    """The engine does not answer."""

    retryable = True


class EngineBusyError(EngineError):
    """The engine cannot do it now."""

    retryable = True


class EngineRefusedError(EngineError):
    """The engine refuses; `type` is the name of its reason."""

    def __init__(self, message: str, *, type: str) -> None:  # noqa: A002 - as in the answer
        self.type = type
        super().__init__(message)
