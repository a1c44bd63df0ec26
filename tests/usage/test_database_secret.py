"""The login in AWS Secrets Manager, from a server that speaks as it does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from forebay.apps.usage.database_secret import DatabaseSecret
from forebay.apps.usage.linked_store import LinkedStore
from forebay.apps.usage.settings import usage_database
from forebay.apps.usage.stores import open_usage_store
from forebay.clock import SystemClock
from forebay.errors import ForebayError, SettingsError, StoreError
from tests.usage.events import LOG, pack

PASSWORD = "p@ss:w/rd ü?#"

#: As RDS and Aurora keep it.
LOGIN = {
    "username": "writer",
    "password": PASSWORD,
    "engine": "postgres",
    "host": "db.example",
    "port": 6432,
    "dbname": "usage",
}


class SecretsManager:
    """Answers GetSecretValue, for every secret the same."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200
        self.answer: dict[str, object] = {}
        self.asked: list[object] = []
        self.say(LOGIN)

    def say(self, secret: object) -> None:
        self.status, self.answer = 200, {"Name": "n", "SecretString": json.dumps(secret)}

    def refuse(self, code: str) -> None:
        self.status, self.answer = 400, {"__type": code, "Message": f"about {PASSWORD}"}


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretsManager]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.asked.append((self.headers["X-Amz-Target"], json.loads(body)["SecretId"]))
            answer = json.dumps(found.answer).encode()
            self.send_response(found.status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = SecretsManager(f"http://127.0.0.1:{server.server_address[1]}")
        for name, value in {
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": found.url,
            "AWS_REGION": "us-east-2",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


async def login(address: str | None = None) -> Mapping[str, object]:
    """What libpq reads of the address."""
    return conninfo_to_dict(await DatabaseSecret("trinity-beast-secrets", address).read())


async def refusal(secret: DatabaseSecret) -> ForebayError:
    with pytest.raises(ForebayError) as caught:
        await secret.read()
    said = f"{caught.value!r} {caught.value.__cause__!r}"
    assert PASSWORD not in str(caught.value)
    assert "trinity-beast-secrets" in said
    return caught.value


async def test_a_secret_is_an_address(manager: SecretsManager) -> None:
    assert await login() == {
        "user": "writer",
        "password": PASSWORD,
        "host": "db.example",
        "port": "6432",
        "dbname": "usage",
    }
    assert manager.asked == [("secretsmanager.GetSecretValue", "trinity-beast-secrets")]


async def test_a_port_may_be_a_text_or_be_left_out(manager: SecretsManager) -> None:
    manager.say(LOGIN | {"port": "5433"})
    assert (await login())["port"] == "5433"
    manager.say({name: value for name, value in LOGIN.items() if name != "port"})
    assert (await login())["port"] == "5432"


async def test_what_rds_manages_has_no_host_and_the_address_says_it(
    manager: SecretsManager,
) -> None:
    manager.say({"username": "writer", "password": PASSWORD})
    assert await login("postgresql://db.example:6000/usage?sslmode=require") == {
        "user": "writer",
        "password": PASSWORD,
        "host": "db.example",
        "port": "6000",
        "dbname": "usage",
        "sslmode": "require",
    }
    error = await refusal(DatabaseSecret("trinity-beast-secrets"))
    assert "has no host and no dbname" in str(error)


@pytest.mark.parametrize(
    "secret", [PASSWORD, [PASSWORD], {"password": PASSWORD}, LOGIN | {"port": PASSWORD}]
)
async def test_a_secret_that_is_no_login_is_not_shown(
    manager: SecretsManager, secret: object
) -> None:
    manager.say(secret)
    error = await refusal(DatabaseSecret("trinity-beast-secrets"))
    assert isinstance(error, SettingsError)
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert "is not the JSON of a database" in str(error)


async def test_a_binary_secret_is_refused(manager: SecretsManager) -> None:
    manager.answer = {"Name": "n", "SecretBinary": "AAAA"}
    error = await refusal(DatabaseSecret("trinity-beast-secrets"))
    assert "is binary" in str(error)


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        ("ResourceNotFoundException", SettingsError, "There is no such secret"),
        ("AccessDeniedException", SettingsError, "Allow this role secretsmanager:GetSecretValue"),
        ("ThrottlingException", StoreError, "says ThrottlingException"),
        ("InternalServiceError", StoreError, "says InternalServiceError"),
    ],
)
async def test_a_refusal_says_what_to_do(
    manager: SecretsManager, code: str, kind: type[ForebayError], advice: str
) -> None:
    manager.refuse(code)
    error = await refusal(DatabaseSecret("trinity-beast-secrets"))
    assert type(error) is kind
    assert advice in str(error)


async def test_without_an_answer_it_may_come_later(
    manager: SecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    assert isinstance(await refusal(DatabaseSecret("trinity-beast-secrets")), StoreError)


async def test_without_a_region_it_says_so(
    manager: SecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    assert "Set AWS_REGION" in str(await refusal(DatabaseSecret("trinity-beast-secrets")))


async def test_a_login_that_postgresql_refuses_is_read_anew(
    manager: SecretsManager, postgres: str
) -> None:
    """The writer's role is another one after the rotation, as when two of them take turns."""
    place = conninfo_to_dict(postgres)
    login = {**LOGIN, "host": place["host"], "port": 5432, "dbname": "postgres"}
    roles = ("usage_writer_a", "usage_writer_b")
    with psycopg.connect(postgres, autocommit=True) as admin:
        for role in roles:
            admin.execute(f"CREATE ROLE {role} LOGIN SUPERUSER".encode())
        try:
            manager.say(login | {"username": roles[0]})
            address = usage_database(environment={"DB_SECRET_NAME": "trinity-beast-secrets"})
            linked = LinkedStore(address, open_usage_store)
            now_ms = SystemClock().wall_ms()
            await linked.write([pack("p-1", LOG, at_ms=now_ms)])
            admin.execute(f"ALTER ROLE {roles[0]} NOLOGIN".encode())
            admin.execute(
                b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
                (roles[0],),
            )
            manager.say(login | {"username": roles[1]})
            written = await linked.write([pack("p-2", LOG, at_ms=now_ms)])
            assert (written.rows, written.packs) == (1, 1)
            users = admin.execute(
                b"SELECT DISTINCT usename FROM pg_stat_activity WHERE usename LIKE 'usage_writer_%'"
            ).fetchall()
            assert users == [(roles[1],)]
            await linked.close()
        finally:
            for role in roles:
                admin.execute(f"DROP OWNED BY {role} CASCADE".encode())
                admin.execute(f"DROP ROLE {role}".encode())
