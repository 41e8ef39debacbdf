"""SASL with DIGEST-MD5, the mechanism that ZooKeeper's servers take with a user and a password.

The client opens with an empty token; the server's challenge is answered with a digest, and its last
word proves that the server knows the password too. Source: RFC 2831; ZooKeeper fixes the service
and the host name of the digest (org.apache.zookeeper.util.SecurityUtils).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import struct

from sync_engine.errors import AuthFailedError

SCHEME = "sasl"
OPCODE = 102
_URI = "zookeeper/zk-sasl-md5"
_FIELD = re.compile(r'\s*([a-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^,]*))\s*(?:,|$)')
_length = struct.Struct(">i")


class DigestMd5:
    """One authentication; `answer` is called with each word of the server."""

    def __init__(self, identity: bytes, *, cnonce: str | None = None) -> None:
        user, _, password = identity.decode().partition(":")
        self._user = user
        self._password = password
        self._cnonce = cnonce or secrets.token_hex(16)
        self._expected: str | None = None

    def answer(self, challenge: bytes) -> bytes | None:
        """The answer to a challenge; None where the server's last word was right.

        Raises:
            AuthFailedError: a word that is none of the mechanism, or that proves nothing.
        """
        fields = {
            name: quoted or plain
            for name, quoted, plain in _FIELD.findall(challenge.decode(errors="replace"))
        }
        if self._expected is not None:
            if not secrets.compare_digest(fields.get("rspauth", ""), self._expected):
                msg = "expected the server to prove that it knows the password, saw another digest"
                raise AuthFailedError(msg)
            return None
        nonce = fields.get("nonce")
        if not nonce or fields.get("algorithm") != "md5-sess":
            msg = "expected a DIGEST-MD5 challenge, saw another: is SASL set up on the server?"
            raise AuthFailedError(msg)
        realm = fields.get("realm", "")
        self._expected = self._digest(realm, nonce, "")
        return (
            f'charset=utf-8,username="{self._user}",realm="{realm}",nonce="{nonce}",'
            f'nc=00000001,cnonce="{self._cnonce}",digest-uri="{_URI}",maxbuf=65536,'
            f"response={self._digest(realm, nonce, 'AUTHENTICATE')},qop=auth"
        ).encode()

    def _digest(self, realm: str, nonce: str, method: str) -> str:
        secret = _md5(f"{self._user}:{realm}:{self._password}".encode())
        one = _md5(secret + f":{nonce}:{self._cnonce}".encode()).hex()
        two = _md5(f"{method}:{_URI}".encode()).hex()
        text = f"{one}:{nonce}:00000001:{self._cnonce}:auth:{two}"
        return _md5(text.encode()).hex()


def read_token(raw: bytes, at: int, _end: int) -> bytes:
    """Answer to a SASL request: the server's word."""
    length = max(0, int(_length.unpack_from(raw, at)[0]))
    return raw[at + 4 : at + 4 + length]


def _md5(data: bytes) -> bytes:
    # The mechanism is what it is; it protects nothing but this exchange.
    return hashlib.md5(data, usedforsecurity=False).digest()
