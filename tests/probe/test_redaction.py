"""A corpus of command lines, variables and labels: what must go, and what must stay."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.agent.redaction import REDACTED, command_line, is_secret_name, redact, redact_pair
from tests.probe.properties import patient

# Each holds the secret `s3cr3tvalue`, or is followed by what the secret is.
SECRETS = [
    "app --password s3cr3tvalue --port 80",
    "app --password=s3cr3tvalue",
    "app --db-password=s3cr3tvalue",
    "app --dbPassword s3cr3tvalue",
    "app -Djavax.net.ssl.keyStorePassword=s3cr3tvalue -jar a.jar",
    "java -Dspring.datasource.password=s3cr3tvalue Main",
    "app --api-key s3cr3tvalue",
    "app --apikey=s3cr3tvalue",
    "app --api_key s3cr3tvalue",
    "app --access-token s3cr3tvalue",
    "app --token=s3cr3tvalue",
    "app --client-secret s3cr3tvalue",
    "app --secret s3cr3tvalue",
    "app --private-key s3cr3tvalue",
    "app --auth user:s3cr3tvalue",
    "app --credentials s3cr3tvalue",
    "app --passphrase s3cr3tvalue",
    "app --passwd s3cr3tvalue",
    "app --pwd=s3cr3tvalue",
    "app --pass s3cr3tvalue",
    "env DB_PASSWORD=s3cr3tvalue app",
    "env PGPASSWORD=s3cr3tvalue psql",
    "env AWS_SECRET_ACCESS_KEY=s3cr3tvalue aws s3 ls",
    "env VAULT_TOKEN=s3cr3tvalue vault read",
    "env MYSQL_PWD=s3cr3tvalue mysqld",
    "env JWT_SECRET=s3cr3tvalue node app.js",
    "mysql -uroot -ps3cr3tvalue shop",
    "/usr/bin/mysqldump -u root -ps3cr3tvalue shop",
    "sshpass -p s3cr3tvalue ssh host",
    "sudo mysql -ps3cr3tvalue",
    "redis-cli -h cache -a s3cr3tvalue ping",
    "mongosh -u root -p s3cr3tvalue",
    "docker login -u me -p s3cr3tvalue registry",
    "curl -u me:s3cr3tvalue https://x/",
    "curl --user me:s3cr3tvalue https://x/",
    "curl https://me:s3cr3tvalue@host/path",
    "git clone https://oauth2:s3cr3tvalue@host/repo.git",
    "psql postgres://shop:s3cr3tvalue@db:5432/shop",
    "app --dsn postgres://shop:s3cr3tvalue@db/shop",
    "celery -b amqp://guest:s3cr3tvalue@rabbit:5672//",
    "app redis://:s3cr3tvalue@cache:6379/0",
    "curl https://x/?access_token=s3cr3tvalue&page=2",
    "curl https://x/?page=2&api_key=s3cr3tvalue",
    "app config.password=s3cr3tvalue",
    "ldapsearch -D cn=admin -w s3cr3tvalue",
    "openssl enc -aes-256-cbc -k s3cr3tvalue",
    "openssl rsa -passin pass:s3cr3tvalue",
    "app --signature s3cr3tvalue",
]
# As one argument with blanks in it, which splitting would take apart.
ARGUMENTS = [
    "Authorization: Bearer s3cr3tvalue",
    "Authorization: Basic s3cr3tvalue",
    "X-Auth-Token: s3cr3tvalue",
    "mysql -u root --password=s3cr3tvalue shop",
    '{"user": "me", "password": "s3cr3tvalue"}',
    "{'token': 's3cr3tvalue'}",
    "password: s3cr3tvalue",
    "Server=db;User=sa;Password=s3cr3tvalue;",
    "export API_KEY=s3cr3tvalue; run",
]
# Written apart, so that no scanner of secrets takes them for real.
SHAPES = [
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "ghp_" + "a1" * 18,
    "xoxb-" + "123456789012-abcdef",
    "sk-" + "a1b2c3d4e5" * 4,
    "hvs." + "a1b2c3d4e5f6",
    "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".c2lnbmF0dXJl",
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n-----END RSA " + "PRIVATE KEY-----",
]
HARMLESS = [
    "nginx -g daemon off;",
    "java -Xmx2g -cp /opt/app.jar Main --port 8080",
    "app --password-file /run/secrets/db",
    "app --token-ttl 30s",
    "app --auth-type basic",
    "app --secret-name db-credentials-name",
    "app --tokenizer fast",
    "app --compass north",
    "app --bypass all",
    "app --author me",
    "app --authority x",
    "app --no-password --port 80",
    "docker run -p 8080:80 nginx",
    "ssh -p 2222 host",
    "mkdir -p /a/b",
    "mysql -uroot shop",
    "curl https://example.com:8443/a?b=c",
    "curl https://me@example.com/",
    "etcd --initial-cluster-token-file /x",
    "sleep 1000",
    "app --id 3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "app --secrets-dir /run/secrets",
    "ssh-agent SSH_AUTH_SOCK=/tmp/agent.1",
    "app --pinned yes",
    "app --passive",
    "bash -c exec /usr/local/bin/app --verbose",
    "app --key value --keyspace shop",
    "kubelet --authentication-token-webhook-cache-ttl 2m --authorization-mode Webhook",
    "app --tokens-per-second 5",
]


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


@pytest.mark.parametrize("secret", SHAPES)
def test_a_secret_of_a_known_shape_goes_wherever_it_stands(secret: str) -> None:
    shown = redact(f"begin {secret} end")

    assert secret not in shown
    assert shown.startswith("begin ")


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_no_secret_stays(line: str) -> None:
    assert command_line(line.split(" ")) == line


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


@pytest.mark.parametrize("character", ["a", "=", ":", " ", "-", "\n", "/", "'", "-p", "token="])
def test_a_megabyte_takes_no_time(character: str) -> None:
    before = time.process_time()
    command_line([character * (1_000_000 // len(character))] * 3)

    assert time.process_time() - before < 1.0
