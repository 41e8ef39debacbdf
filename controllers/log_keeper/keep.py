"""Looks at what is there, and puts what is otherwise: once, and again when somebody changed it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import httpx

from clients.access import Tls
from controllers.errors import LogStoreError, SettingsError
from controllers.log_keeper.settings import Document, LogKeeperSettings

_META = "_meta"
_MARK = "mesos-platform"
_MISSING = 404


class Keeper:
    """Keeps the documents of one Elasticsearch.

    Raises:
        SettingsError: the password cannot be read.
        AccessError: the certificate cannot.
    """

    def __init__(
        self, settings: LogKeeperSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._documents = settings.documents
        self._client = httpx.AsyncClient(
            base_url=settings.url,
            auth=_auth(settings),
            verify=Tls(settings.ca_file).context(),
            timeout=settings.timeout_s,
            trust_env=False,
            transport=transport,
        )

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def look(self) -> tuple[str, ...]:
        """Put what is otherwise; returns the paths that were put.

        Raises:
            LogStoreError: Elasticsearch does not answer, or refuses.
        """
        return tuple([one.path for one in self._documents if await self._put(one)])

    async def _put(self, document: Document) -> bool:
        if document.mark in _marks(await self._ask("GET", document.path, None)):
            return False
        await self._ask("PUT", document.path, marked(document))
        return True

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            msg = (
                f"expected an answer of Elasticsearch at {self._client.base_url}, saw "
                f"{error or type(error).__name__}: it is asked again"
            )
            raise LogStoreError(msg) from None
        if method == "GET" and answer.status_code == _MISSING:
            return {}
        try:
            told = answer.json()
        except ValueError:
            told = answer.text
        if not answer.is_success:
            msg = f"expected {method} {path} to be taken, saw {answer.status_code}: {_reason(told)}"
            raise LogStoreError(msg)
        return told


def marked(document: Document) -> dict[str, Any]:
    """The body with its mark, where each kind of document has its `_meta`."""
    body = dict(document.body)
    inner = body.get("policy")
    meta = {_META: {_MARK: document.mark}}
    if isinstance(inner, dict):
        return {**body, "policy": {**cast("dict[str, Any]", inner), **meta}}
    return {**body, **meta}


def _marks(answer: Any) -> Iterator[str]:
    """Marks anywhere in an answer: each kind of document is told in a form of its own."""
    if isinstance(answer, list):
        for each in cast("list[Any]", answer):
            yield from _marks(each)
    if isinstance(answer, dict):
        for key, value in cast("dict[str, Any]", answer).items():
            if key == _META and isinstance(value, dict):
                yield str(cast("dict[str, Any]", value).get(_MARK))
            else:
                yield from _marks(value)


def _reason(told: Any) -> str:
    """The part of a refusal that says why."""
    if isinstance(told, dict):
        error = cast("dict[str, Any]", told).get("error")
        if isinstance(error, dict):
            return str(cast("dict[str, Any]", error).get("reason"))
        return str(error)
    return str(told)[:200]


def _auth(settings: LogKeeperSettings) -> httpx.BasicAuth | None:
    if settings.password_file is None:
        return None
    try:
        password = settings.password_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"expected a password in {settings.password_file}, saw {error}: mount its Secret"
        raise SettingsError(msg) from None
    return httpx.BasicAuth(settings.user, password)
