"""A corpus of command lines, variables and labels: what must go, and what must stay."""

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
)
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
    # Mesos, Marathon, ZooKeeper.
    "mesos-agent --credential=principal:s3cr3tvalue",
    'mesos-agent --credential={"principal":"p","secret":"s3cr3tvalue"}',
    "mesos-execute --principal=p --secret=s3cr3tvalue",
    "mesos-master --zk=zk://mesos:s3cr3tvalue@h1:2181,h2:2181/mesos",
    "marathon --zk zk://marathon:s3cr3tvalue@h:2181/marathon",
    "marathon --mesos_authentication_secret s3cr3tvalue",
    "marathon --http_credentials user:s3cr3tvalue",
    "zkCli.sh addauth digest user:s3cr3tvalue",
    "app --acl digest:user:s3cr3tvalue=:cdrwa",
    "java -Dzookeeper.DigestAuthenticationProvider.superDigest=super:s3cr3tvalue",
    "java -Dzookeeper.ssl.keyStore.password=s3cr3tvalue Main",
    # A user with a password, wherever options of users are known.
    "app -u user:s3cr3tvalue",
    "http -a user:s3cr3tvalue GET x",
    "etcdctl --user root:s3cr3tvalue get",
    "curl --proxy-user me:s3cr3tvalue x",
    "ftp ftp://me:p@ss:s3cr3tvalue@h/",
    # Headers.
    "curl -H X-Api-Key:s3cr3tvalue http://x",
    "curl -H Authorization:Bearer%20s3cr3tvalue http://x",
    # Secrets that stand alone.
    "rabbitmqctl add_user me s3cr3tvalue",
    "rabbitmqctl change_password me s3cr3tvalue",
    "htpasswd -b file me s3cr3tvalue",
    "sqlplus me/s3cr3tvalue@db",
    "snmpwalk -v2c -c s3cr3tvalue host",
    "vault login s3cr3tvalue",
    "vault write auth/approle/login role_id=r secret_id=s3cr3tvalue",
    "mc alias set x http://h me s3cr3tvalue",
    "ldapsearch -ws3cr3tvalue",
    "mosquitto_pub -u u -P s3cr3tvalue",
    "ipmitool -P s3cr3tvalue power status",
    "az login -p s3cr3tvalue",
    # More names.
    "docker run --env=API_TOKEN=s3cr3tvalue x",
    "docker run -e MYSQL_ROOT_PASSWORD=s3cr3tvalue x",
    "helm --set-string auth.rootPassword=s3cr3tvalue,a=b",
    "redis-server --requirepass s3cr3tvalue",
    "redis-server --masterauth s3cr3tvalue",
    "keytool -storepass s3cr3tvalue -keypass s3cr3tvalue",
    "app --enc_key=s3cr3tvalue",
    "app --master-key s3cr3tvalue",
    "app --account-key s3cr3tvalue",
    "app --connection-string Server=x;AccountKey=s3cr3tvalue;b=c",
    "mount -o username=u,password=s3cr3tvalue //h/x",
    "ansible -e ansible_ssh_pass=s3cr3tvalue x",
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
    'Authorization: Digest username="x", response="s3cr3tvalue"',
    "Proxy-Authorization: basic s3cr3tvalue",
    "Cookie: session=s3cr3tvalue; other=s3cr3tvalue",
    '{"auths": {"registry": {"auth": "s3cr3tvalue"}}}',
    "<password>s3cr3tvalue</password>",
    "aws_secret_access_key = s3cr3tvalue",
    # Lines for a shell: each command by its own program's options.
    "curl -u me:s3cr3tvalue http://x",
    "cd /x && mysql -ps3cr3tvalue shop",
    "exec redis-cli -a 's3cr3tvalue' ping | tee /tmp/x",
    'true; sshpass -p "s3cr3tvalue with blanks s3cr3tvalue" ssh h',
    "app --password 's3cr3tvalue and more s3cr3tvalue' --port 80",
    "(PGPASSWORD=s3cr3tvalue psql -c x)",
    "bash -c 'mysql -ps3cr3tvalue'",
]
# Written apart, so that no scanner of secrets takes them for real.
SHAPES = [
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "ghp_" + "a1" * 18,
    "xoxb-" + "123456789012-abcdef",
    "sk-" + "a1b2c3d4e5" * 4,
    "hvs." + "a1b2c3d4e5f6",
    "ASIA" + "ABCDEFGHIJKLMNOP",
    "npm_" + "a1" * 18,
    "sk_test_" + "a1b2c3d4e5f6",
    "SG." + "a1b2c3d4e5f6a1b2" + ".a1b2c3d4e5f6a1b2",
    "dop_v1_" + "a1" * 16,
    "Bearer " + "a1b2c3d4e5",
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
    # Where a secret is, and texts about secrets.
    "cat docs/password-policy.md",
    "vim /etc/passwd",
    "app --password-policy strict",
    "app --config /etc/secrets.yaml",
    "tail -f /var/log/auth.log",
    "go test ./auth/token_test.go",
    "java -cp token-1.2.jar:auth.jar Main",
    "mesos-master --authenticate_agents=true --credentials=/etc/mesos/credentials",
    "mesos-agent --credential=file:///etc/mesos/credential",
    "mesos-agent --credential /etc/mesos/credential --master zk://h:2181/mesos",
    "mesos-agent --executor_secret_key=/etc/mesos/key",
    "mesos-master --acls=/etc/acls.json --authenticators=crammd5",
    "zkCli.sh -server h:2181 getAcl /auth",
    "git commit -m fix token refresh",
    "kubectl create secret generic x --from-file=a",
    "vault kv get secret/app",
    "http http://h/oauth/token?grant=x",
    "app --basic-auth-realm site",
    "app basic training",
    "app --max-tokens 500",
    "app --max_new_tokens 500",
    "app digest sha256:9f86d081884c7d65",
    "docker run -u 1000:1000 nginx",
    "docker run --user app:app nginx",
    "app -u 1000:1000",
    "app --pin-memory",
    "salt-minion -d",
    "sqlplus -v",
]
# Texts that are labels, messages or lines for a shell.
HARMLESS_TEXTS = [
    "basic authentication is off",
    "Basic training for all",
    "bearer authentication",
    "token refresh failed",
    "see docs/password-policy.md",
    "the password is asked for",
    "cd /app && exec java -jar app.jar --port 8080; echo 'a  b' | tee \"x y\"",
    "digest: sha256:9f86d081",
    "a <token> b",
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
    assert redact_pair("DB_PASSWORD", "/xG7/kQ9aa==") == REDACTED


@patient
@given(st.text(alphabet="ab '\";|&()-p=:\n", max_size=200))
def test_a_line_for_a_shell_without_secrets_keeps_every_character(text: str) -> None:
    assert shell_line(text) == text


PIECES = [
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
