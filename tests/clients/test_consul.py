"""The client of Consul: whose fault it is when an answer is none, and what it never tells."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from clients.consul import (
    ConsulClient,
    ConsulError,
    ForbiddenError,
    PermanentError,
    ProtocolError,
    RequestRefusedError,
    RetryableError,
    UnreachableError,
)
from clients.dns import look_up
from clients.errors import AccessError, DnsError

TOKEN = "b1gs33cr3t-0000"


def client(answer: httpx.Response, token_file: Path | None = None) -> ConsulClient:
    transport = httpx.MockTransport(lambda _: answer)
    return ConsulClient(("c:8500",), token_file, timeout_s=0.2, transport=transport)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(500, text="No cluster leader"), UnreachableError),
        (httpx.Response(503, text="draining"), UnreachableError),
        (httpx.Response(429, text="Your IP is issuing too many"), UnreachableError),
        (httpx.Response(403, text="Permission denied"), ForbiddenError),
        (httpx.Response(500, text="rpc error making call: EOF"), UnreachableError),
        (httpx.Response(500, text="rpc error making call: No cluster leader"), UnreachableError),
        (
            httpx.Response(500, text="rpc error making call: leadership lost while committing log"),
            UnreachableError,
        ),
        (
            httpx.Response(500, text="rpc error getting client: failed to get conn: dial tcp: x"),
            UnreachableError,
        ),
        (
            httpx.Response(500, text="rpc error making call: i/o deadline exceeded"),
            UnreachableError,
        ),
        # Names may have the same words in them.
        *(
            (httpx.Response(500, text=f"Invalid service: {name}"), RequestRefusedError)
            for name in ("bad-connect", "closed", "leader-of-raft", "shut-geof", "time-out")
        ),
        (httpx.Response(500, text="rpc error making call: Must provide node"), RequestRefusedError),
        (httpx.Response(400, text="Missing node name"), RequestRefusedError),
        (httpx.Response(200, text="<html>"), ProtocolError),
        (httpx.Response(200, json=[{"Name": "n"}]), ProtocolError),
    ],
)
async def test_an_answer_that_is_none_says_whose_fault_it_is(
    answer: httpx.Response, expected: type[ConsulError]
) -> None:
    async with client(answer) as consul:
        with pytest.raises(expected, match=r"^expected .*, saw "):
            await consul.nodes()


async def test_a_write_that_is_not_taken_is_told() -> None:
    async with client(httpx.Response(200, text="false")) as consul:
        with pytest.raises(ProtocolError, match="is it Consul"):
            await consul.deregister("n")


async def test_a_token_is_shown_and_never_told(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("x-consul-token"))
        return httpx.Response(403, text="Permission denied")

    transport = httpx.MockTransport(answer)
    async with ConsulClient(("c:8500",), file, transport=transport) as consul:
        with pytest.raises(ForbiddenError) as caught:
            await consul.nodes()

    assert seen == [TOKEN]
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("text", ["", "two\nlines", "tök"])
def test_a_token_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)

    with pytest.raises(AccessError, match="a token of one line") as caught:
        ConsulClient(("c:8500",), file)
    assert not text or text not in str(caught.value)

    with pytest.raises(AccessError, match="No such file"):
        ConsulClient(("c:8500",), tmp_path / "none")


def test_errors_are_retryable_or_permanent() -> None:
    assert issubclass(UnreachableError, RetryableError)
    for one in (ForbiddenError, RequestRefusedError, ProtocolError):
        assert issubclass(one, PermanentError)


async def test_a_host_that_is_called_by_name_is_looked_up() -> None:
    assert await look_up("localhost") == ("127.0.0.1",)
    assert await look_up("192.0.2.7") == ("192.0.2.7",)
    with pytest.raises(DnsError, match="expected an address of no-such-host"):
        await look_up("no-such-host.invalid")
