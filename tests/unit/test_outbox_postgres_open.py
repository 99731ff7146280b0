"""Which databases the outbox opens, which it refuses and in which words, and how the schema gets to its newest form."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from mailsvc.errors import ConfigError, StorageUnavailable
from mailsvc.listing import Page
from mailsvc.outbox import open_outbox
from mailsvc.outbox.postgres.address import Address
from mailsvc.outbox.postgres.schema import prepare, scripts
from tests.contract.samples import addition, store
from tests.fakes.raw import serving
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import Wire, opened, session

SECRET = "pa55w0rd-CANARY"


async def refusal(url: str, lock_wait: float = 0.0) -> str:
    """What is said about a database that cannot be used."""
    with pytest.raises(ConfigError) as refused:
        await open_outbox(url, lock_wait=lock_wait)
    return str(refused.value)


async def test_ten_processes_start_at_once_on_an_empty_database(postgres: PostgresServer) -> None:
    url = postgres.create()
    outboxes = await asyncio.gather(*(open_outbox(url) for _ in range(10)))
    await asyncio.gather(*(store(outbox) for outbox in outboxes))
    listed = (await outboxes[0].list(Page(limit=100))).records
    await asyncio.gather(*(outbox.close() for outbox in outboxes))

    assert len(listed) == 10
    assert postgres.run("SELECT number FROM mailsvc.schema_version", database=url) == str(len(scripts()))


async def test_nothing_is_made_outside_of_a_schema_of_its_own(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with session(url) as other:
        await other.execute("CREATE TABLE public.mail (foreign_thing integer); CREATE TABLE public.event (x integer)")
        async with opened(url) as outbox:
            await store(outbox)
        tables = await other.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")

    assert sorted(row[0] for row in tables) == ["event", "mail"]


async def test_a_schema_of_a_newer_program_is_refused(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url), session(url) as other:
        await other.execute("UPDATE schema_version SET number = 99")

    assert f"written by a newer mailsvc (schema 99, this one knows {len(scripts())})" in await refusal(url)


async def test_a_migration_that_fails_leaves_nothing_behind(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url):
        pass
    broken = [*scripts(), "CREATE TABLE half (x integer)", "SELECT 1 / 0"]
    with pytest.raises(asyncpg.DivisionByZeroError):
        await prepare(Address.parse(url), 0, broken)
    async with session(url) as other:
        half = await other.fetchval("SELECT to_regclass('half')")
    async with opened(url) as outbox:
        await store(outbox)

    assert half is None


async def test_a_migration_runs_on_what_is_there_and_only_once(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as outbox:
        await store(outbox, addition(), addition())
    more = [*scripts(), "CREATE TABLE runs (mails bigint); INSERT INTO runs SELECT count(*) FROM mail"]
    for _ in range(2):
        await prepare(Address.parse(url), 0, more)
    async with session(url) as other:
        runs = await other.fetch("SELECT mails FROM runs")

    assert [row[0] for row in runs] == [2]


async def test_a_wrong_password_is_said_without_the_password(postgres: PostgresServer) -> None:
    said = await refusal(postgres.url("postgres", f"strict:{SECRET}"))

    assert 'password authentication failed for user "strict"' in said
    assert f"PostgreSQL at {postgres.folder}, database postgres, user strict" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (
            "postgres://u:{secret}@127.0.0.1:1/mail",
            "PostgreSQL at 127.0.0.1:1, database mail, user u cannot be reached: ",
        ),
        (
            "postgres://u:{secret}@no-such-host.invalid/mail",
            "at no-such-host.invalid:5432, database mail, user u cannot",
        ),
        (
            "postgres://u:{secret}@/mail?host=/no/such/folder",
            "PostgreSQL at /no/such/folder, database mail, user u cannot",
        ),
        ("postgres://u:{secret}@127.0.0.1:99999/mail", "must be postgres://user:password@host:5432/database"),
        ("postgres://u:{secret}/x@127.0.0.1/mail", "write / @ : # ? % and space in a password as %2F"),
        ("postgres://u:{secret}@x@127.0.0.1/mail", "must be postgres://user:password@host:5432/database"),
        ("postgres://u:{secret}#x@127.0.0.1/mail", "must be postgres://user:password@host:5432/database"),
        ("postgres://u:{secret}?x@127.0.0.1/mail", "must be postgres://user:password@host:5432/database"),
        ("postgres://u:{secret}@127.0.0.1/mail?sslmode=perhaps", "cannot be used: "),
    ],
)
async def test_a_url_that_leads_nowhere_is_named_without_its_password(url: str, words: str) -> None:
    said = await refusal(url.format(secret=SECRET))

    assert words in said
    assert SECRET not in said


async def test_a_database_that_is_missing_is_named(postgres: PostgresServer) -> None:
    assert 'database "nowhere" does not exist' in await refusal(postgres.url("nowhere"))


async def test_a_parameter_that_the_server_does_not_know_is_named(postgres: PostgresServer) -> None:
    assert 'unrecognized configuration parameter "colour"' in await refusal(f"{postgres.create()}&colour=blue")


async def test_a_read_only_database_is_refused(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with session(url) as other:
        await other.execute(
            f"ALTER DATABASE {await other.fetchval('SELECT current_database()')} SET default_transaction_read_only = on"
        )

    assert "is read-only: is it a standby? The primary is needed" in await refusal(url)


async def test_a_database_that_cannot_keep_every_text_is_refused(postgres: PostgresServer) -> None:
    postgres.run("CREATE DATABASE narrow ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'")

    assert "has the encoding SQL_ASCII: UTF8 is needed" in await refusal(postgres.url("narrow"))


async def test_a_user_who_may_make_nothing_is_told_what_an_administrator_can_do(postgres: PostgresServer) -> None:
    url = postgres.create()
    postgres.run("CREATE ROLE guest LOGIN")
    said = await refusal(url.replace("postgres@", "guest@"))
    postgres.run("CREATE SCHEMA mailsvc AUTHORIZATION guest", database=url)
    async with opened(url.replace("postgres@", "guest@")) as outbox:
        ids = await store(outbox)

    assert "permission denied" in said
    assert "CREATE SCHEMA mailsvc AUTHORIZATION the_user" in said
    assert len(ids) == 1


async def test_a_server_that_is_too_old_is_refused() -> None:
    async with old_server("14.9") as port:
        said = await refusal(f"postgres://u:{SECRET}@127.0.0.1:{port}/mail?sslmode=disable")

    assert "is version 14: 15 or newer is needed" in said


async def test_what_is_no_postgresql_is_refused() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = await refusal(f"postgres://u:{SECRET}@127.0.0.1:{port}/mail?sslmode=disable")

    assert f"PostgreSQL at 127.0.0.1:{port}" in said
    assert SECRET not in said


async def test_a_server_that_is_not_there_yet_is_waited_for(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire:
        wire.down = True
        opening = asyncio.create_task(open_outbox(wire.url(url), lock_wait=20))
        await asyncio.sleep(0.05)
        early = opening.done()
        wire.down = False
        outbox = await opening
        await outbox.close()

    assert not early


async def test_a_server_that_takes_nobody_is_no_fault_of_the_configuration(postgres: PostgresServer) -> None:
    url = postgres.create()
    name = url.split("/")[3].split("?")[0]
    postgres.run("CREATE ROLE plain LOGIN")
    postgres.run(f"ALTER DATABASE {name} CONNECTION LIMIT 0")

    with pytest.raises(StorageUnavailable, match="takes no more connections"):
        await open_outbox(url.replace("postgres@", "plain@"))


async def test_accepted_is_durable_whatever_the_database_is_set_to(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with session(url) as other:
        await other.execute(
            f"ALTER DATABASE {await other.fetchval('SELECT current_database()')} SET synchronous_commit = off"
        )
    async with opened(url) as outbox:
        (row,) = await outbox._server.look("SHOW synchronous_commit")

    assert row[0] == "on"


@asynccontextmanager
async def old_server(version: str) -> AsyncIterator[int]:
    """A server that lets everybody in and says that it is of this version; its port."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4), "big")
        await reader.readexactly(length - 4)
        writer.write(message(b"R", bytes(4)))
        writer.write(message(b"S", b"server_version\x00" + version.encode() + b"\x00"))
        writer.write(message(b"S", b"client_encoding\x00UTF8\x00"))
        writer.write(message(b"K", bytes(8)) + message(b"Z", b"I"))
        await reader.read()

    async with serving(answer) as port:
        yield port
