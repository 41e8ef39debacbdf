"""Of a corpus of command lines, variables and labels: what must go, and what must stay."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.agent.redaction import (
    REDACTED,
    command_line,
    is_secret_name,
    redact,
    redact_pair,
    shell_line,
    shown_pairs,
)
from tests.probe.harmless_corpus import HARMLESS, HARMLESS_TEXTS
from tests.probe.properties import patient
from tests.probe.secrets_corpus import ARGUMENTS, SECRETS, SHAPES


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_in_a_command_line_goes(line: str) -> None:
    shown = command_line(line.split(" "))

    assert "s3cr3tvalue" not in shown
    assert REDACTED in shown
    assert shown.split(" ")[0] == line.split(" ", maxsplit=1)[0]


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_a_secret_inside_of_an_argument_goes(argument: str) -> None:
    shown = command_line(["sh", "-c", argument])

    assert "s3cr3tvalue" not in shown
    assert REDACTED in shown


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_a_line_for_a_shell_is_read_whoever_runs_it(argument: str) -> None:
    """`ssh` and `su` hand it on; a label or a plain argument tells it."""
    for shown in (
        command_line(["ssh", "host", argument]),
        command_line(["su", "-", "app", "-c", argument]),
        command_line(["bash", "-c", "-e", argument]),
        redact_pair("com.example.run", argument),
    ):
        assert "s3cr3tvalue" not in shown
        assert REDACTED in shown


@pytest.mark.parametrize("secret", SHAPES)
def test_a_secret_of_a_known_shape_goes_wherever_it_stands(secret: str) -> None:
    shown = redact(f"begin {secret} end")

    assert secret not in shown
    assert shown.startswith("begin ")
    assert redact(secret) != secret


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_no_secret_stays(line: str) -> None:
    assert command_line(line.split(" ")) == line


@pytest.mark.parametrize("text", HARMLESS_TEXTS)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert command_line(["bash", "-lc", text]) == f"bash -lc {text}"


def test_basic_authentication_is_known_by_what_it_holds() -> None:
    pair = base64.b64encode(b"user:s3cr3tvalue").decode()
    assert redact(f"sent basic {pair} to x") == f"sent basic {REDACTED} to x"
    other = base64.b64encode(b"no pair at all").decode()
    assert redact(f"basic {other}") == f"basic {other}"


def test_what_is_not_secret_beside_a_secret_stays() -> None:
    line = "curl -u me:s3cr3tvalue -H Accept:text/plain https://x/a?b=c"
    assert (
        command_line(line.split(" ")) == f"curl -u {REDACTED} -H Accept:text/plain https://x/a?b=c"
    )
    assert redact("zk://mesos:s3cr3tvalue@h1:2181/m") == f"zk://mesos:{REDACTED}@h1:2181/m"
    assert redact("digest:user:s3cr3tvalue=:cdrwa") == f"digest:user:{REDACTED}"
    shell = command_line(["sh", "-c", "cd /x && mysql -ps3cr3tvalue shop | head -5"])
    assert shell == f"sh -c cd /x && mysql -p{REDACTED} shop | head -5"


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("DB_PASSWORD", True),
        ("db.password", True),
        ("GITHUB_TOKEN", True),
        ("apiKey", True),
        ("com.example.secret", True),
        ("maintainer", False),
        ("PATH", False),
        ("com.example.password-file", False),
        ("MESOS_AUTHENTICATE", False),
        ("KEY", False),
        ("version", False),
        ("TOKEN_TTL", False),
        ("VAULT_SECRET_ID", True),
        ("AWS_SESSION_TOKEN", True),
        ("REDIS_REQUIREPASS", True),
        ("azureAccountKey", True),
        ("ZOO_SUPER_DIGEST", True),
        ("MAX_TOKENS", False),
        ("MESOS_CREDENTIAL_FILE", False),
        ("SESSION_TIMEOUT", False),
        ("traefik.http.middlewares.a.basicauth.users", True),
        ("traefik.http.middlewares.a.digestauth.users", True),
        ("NEW_RELIC_LICENSE_KEY", True),
        ("HMAC_KEY", True),
        ("TS_AUTHKEY", True),
        ("WIFI_PSK", True),
        ("CLIENTSECRET", True),
        ("com.example.monkey", False),
        ("SECRETARY", False),
    ],
)
def test_labels_and_variables_are_judged_by_their_names(name: str, is_secret: bool) -> None:
    assert is_secret_name(name) is is_secret
    assert (redact_pair(name, "value") == REDACTED) is is_secret


def test_the_next_option_is_not_taken_for_a_secret() -> None:
    assert command_line(["app", "--password", "-v"]) == "app --password -v"


@patient
@given(st.lists(st.text(max_size=200), max_size=20))
def test_any_command_line_is_shown_inside_its_bound(arguments: list[str]) -> None:
    assert len(command_line(arguments)) <= 4096


def test_a_label_that_names_a_place_stays() -> None:
    assert redact_pair("MESOS_CREDENTIAL", "/etc/mesos/credential") == "/etc/mesos/credential"
    assert redact_pair("DB_PASSWORD", "/run/secrets/db") == "/run/secrets/db"
    assert redact_pair("DB_PASSWORD", "/xG7/kQ9aa==") == REDACTED
    assert redact_pair("DB_PASSWORD", "/opt/kQ9aa") == REDACTED


@patient
@given(st.text(alphabet="ab '\";|&()-p=:\n", max_size=200))
def test_a_line_for_a_shell_without_secrets_keeps_every_character(text: str) -> None:
    assert shell_line(text) == text


PIECES = [
    *("echo a|", "identified by ", "$1$", "password '", "://a:b/", "jdbc:oracle:a:b/", "'a 'b"),
    *("login ", "mysql -p", "-uu:", "password={", "identified with a ", "https://aaaaaaaaa"),
    *("a_", "--a_", "max_a_", "a_b-c."),
    *("a", "=", ":", " ", "-", "\n", "/", "'", "-p", "token=", "://a:b@", "digest:", "a;"),
    *("basic aaaaaa ", "cookie:", '"auth":"', "<token>", "eyJaaaaaaaa.", "'\"", "a:b@"),
]


@pytest.mark.parametrize("piece", PIECES)
def test_a_megabyte_takes_no_time(piece: str) -> None:
    before = time.process_time()
    command_line([piece * (1_000_000 // len(piece))] * 3)
    command_line(["sh", "-c", piece * (1_000_000 // len(piece))])

    assert time.process_time() - before < 1.0


@pytest.mark.parametrize("piece", ["a_", "a-", "a.", "max_a_", "no-a_", "tokens_", "pass", "Pass_"])
@pytest.mark.parametrize("end", ["", "a", "!", "=b"])
def test_a_name_of_many_parts_takes_no_time(piece: str, end: str) -> None:
    name = piece * 40 + end
    before = time.process_time()
    is_secret_name(name)
    redact_pair(name, "value")
    command_line(["app", f"--{name}", name])

    assert time.process_time() - before < 0.2


@pytest.mark.parametrize("piece", [*PIECES, "a&", "-eyJ"])
def test_a_megabyte_of_a_label_takes_no_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    before = time.process_time()
    redact(text)
    redact_pair("label", text)
    shown_pairs({"label": text}, redacts=True, chars_max=1024)

    assert time.process_time() - before < 1.0


@pytest.mark.parametrize("chars", range(8_050, 8_200, 7))
@pytest.mark.parametrize("filler", ["x", "x ", "a;"])
def test_half_a_secret_at_the_end_of_what_is_read_is_not_shown(chars: int, filler: str) -> None:
    text = (filler * chars)[:chars] + " https://me:" + "s3cr3tvalue" * 9 + "@host/" + "y" * 200
    for shown in (redact(text), redact_pair("label", text), command_line(["app", text])):
        assert "s3cr3t" not in shown
        assert shown[4:100] in text


def test_a_pair_is_judged_by_its_whole_name_and_value_and_then_cut() -> None:
    name = "n" * 300 + "_password"
    pairs = {name: "s3cr3tvalue", "url": "x" * 1000 + " https://me:" + "s3cr3tvalue" * 9 + "@h"}
    shown = shown_pairs(pairs, redacts=True, chars_max=1024)
    assert "s3cr3t" not in str(shown)
    assert max(len(one) for one in shown) <= 256 + 1 + 1024
    assert len(shown_pairs({str(n): "v" for n in range(5_000)}, redacts=True, chars_max=9)) == 256
    assert "s3cr3tvalue" in str(shown_pairs(pairs, redacts=False, chars_max=1024))


def test_a_line_of_several_lines_is_read_line_by_line() -> None:
    script = "cd /x\nmysql -ps3cr3tvalue \\\n shop\n\tcurl -u\tme:s3cr3tvalue h\n"
    script += "vault login \\\n s3cr3tvalue\nredis-cli \\\n  -a \\\n  s3cr3tvalue ping"
    for shown in (command_line(["sh", "-c", script]), redact_pair("label", script)):
        assert "s3cr3tvalue" not in shown
    assert command_line(["x", "mysql\t-ps3cr3tvalue"]) == f"x mysql\t-p{REDACTED}"


def test_lines_inside_of_lines_are_read_to_a_bounded_depth() -> None:
    line = "mysql -ps3cr3tvalue"
    assert "s3cr3tvalue" not in command_line(["sh", "-c", f"""ssh h "sh -c '{line}'" """])
    nested = "'" * 2000 + " " + "'" * 2000
    assert command_line(["sh", "-c", nested]) == f"sh -c {nested}"
