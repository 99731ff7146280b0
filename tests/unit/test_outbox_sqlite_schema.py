"""The schema of the SQLite outbox: how it comes to be, and that no question reads more than it must."""

import itertools
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mailsvc.errors import ConfigError, StorageBroken
from mailsvc.listing import Page
from mailsvc.model import Status
from mailsvc.outbox import open_outbox
from mailsvc.outbox.sqlite import accept, deliver, lists, moved, reads, renewal, retention, schema
from mailsvc.outbox.sqlite.file import DatabaseFile
from tests.contract.samples import addition, store


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to an outbox that is set up."""
    file = DatabaseFile(str(tmp_path / "outbox.db"))
    file.create()
    opened = sqlite3.connect(file.path, isolation_level=None)
    schema.prepare(opened, file)
    yield opened
    opened.close()


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_the_connection_is_set_up_to_lose_nothing(connection: sqlite3.Connection) -> None:
    assert (pragma(connection, "journal_mode"), pragma(connection, "synchronous")) == ("wal", 2)
    assert (pragma(connection, "wal_autocheckpoint"), pragma(connection, "page_size")) == (0, 8192)
    assert (pragma(connection, "foreign_keys"), pragma(connection, "auto_vacuum")) == (1, 2)
    assert pragma(connection, "secure_delete") == 1  # what is deleted is written over


def test_every_table_is_strict(connection: sqlite3.Connection) -> None:
    tables = connection.execute("SELECT name, strict FROM pragma_table_list WHERE name NOT LIKE 'sqlite_%'").fetchall()

    assert len(tables) >= 7
    assert [name for name, strict in tables if not strict] == []


def test_migrations_are_numbered_without_a_gap(connection: sqlite3.Connection) -> None:
    names = sorted(entry.name for entry in schema.MIGRATIONS.iterdir())

    assert [int(re.fullmatch(r"(\d{4})_[a-z_]+\.sql", name)[1]) for name in names] == list(range(1, len(names) + 1))
    assert pragma(connection, "user_version") == len(names)


def test_only_what_is_missing_is_run(connection: sqlite3.Connection, tmp_path: Path) -> None:
    more = [*schema.scripts(), "CREATE TABLE one (a TEXT) STRICT;", "INSERT INTO one VALUES ('x');"]
    schema.migrate(connection, tmp_path, more[:-1])
    schema.migrate(connection, tmp_path, more)
    schema.migrate(connection, tmp_path, more)

    assert connection.execute("SELECT count(*) FROM one").fetchone() == (1,)
    assert pragma(connection, "user_version") == len(more)


def test_migrations_that_fail_halfway_leave_nothing_behind(connection: sqlite3.Connection, tmp_path: Path) -> None:
    version = pragma(connection, "user_version")
    tables = connection.execute("SELECT * FROM sqlite_master").fetchall()
    good = "CREATE TABLE good (a TEXT) STRICT;"
    bad = "CREATE TABLE half (a TEXT) STRICT; INSERT INTO nowhere VALUES (1);"

    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        schema.migrate(connection, tmp_path, [*schema.scripts(), good, bad])
    assert not connection.in_transaction
    assert connection.execute("SELECT * FROM sqlite_master").fetchall() == tables
    assert pragma(connection, "user_version") == version


async def test_a_file_of_a_newer_mailsvc_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    await (await open_outbox(f"sqlite:///{path}")).close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 999")
    newer.close()

    with pytest.raises(ConfigError, match=r"newer mailsvc \(schema 999"):
        await open_outbox(f"sqlite:///{path}")


async def test_a_damaged_file_that_is_under_suspicion_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = await open_outbox(f"sqlite:///{path}")
    await store(outbox, *(addition() for _ in range(200)))
    await outbox.close()
    content = bytearray(path.read_bytes())
    content[8192 * 3 : -8192] = b"\xaa" * len(content[8192 * 3 : -8192])
    path.write_bytes(content)
    DatabaseFile(str(path)).suspect = True

    with pytest.raises(StorageBroken, match="damaged"):
        await open_outbox(f"sqlite:///{path}")
    assert DatabaseFile(str(path)).suspect


async def test_a_file_under_suspicion_that_is_sound_is_opened_and_cleared(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    await (await open_outbox(f"sqlite:///{path}")).close()
    DatabaseFile(str(path)).suspect = True

    await (await open_outbox(f"sqlite:///{path}")).close()
    assert not DatabaseFile(str(path)).suspect


FILTERS: dict[str, object] = {
    "status": Status.SENT,
    "to": "ann@example.com",
    "provider": "alpha",
    "owner": "mk_1",
    "tag": "welcome",
    "metadata": ("order", "1"),
    "since": 1.8e9,
    "until": 1.9e9,
    "after": "x",
}
COMBINATIONS = [names for size in (0, 1, 2, len(FILTERS)) for names in itertools.combinations(FILTERS, size)]
STRETCH = lists.Stretch(0, 1000)
WAYS = {
    "mail": "SEARCH mail USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    "mail INDEXED BY mail_status": "SEARCH mail USING INDEX mail_status (status=? AND rowid>? AND rowid<?)",
    "mail INDEXED BY mail_provider": "SEARCH mail USING INDEX mail_provider (provider=? AND rowid>? AND rowid<?)",
    "mail INDEXED BY mail_owner": "SEARCH mail USING INDEX mail_owner (owner=? AND rowid>? AND rowid<?)",
    "recipient": "SEARCH recipient USING COVERING INDEX recipient_address (address=? AND mail>? AND mail<?)",
    "mail_tag": "SEARCH mail_tag USING PRIMARY KEY (tag=? AND mail>? AND mail<?)",
    "mail_metadata": "SEARCH mail_metadata USING PRIMARY KEY (key=? AND value=? AND mail>? AND mail<?)",
}


def plan(connection: sqlite3.Connection, sql: str, values: object = None) -> str:
    values = [None] * sql.count("?") if values is None else values
    return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))


@pytest.mark.parametrize("names", COMBINATIONS, ids=" ".join)
def test_a_list_walks_the_index_of_one_filter_and_sorts_nothing(
    connection: sqlite3.Connection, names: Sequence[str]
) -> None:
    page = Page(**{name: FILTERS[name] for name in names})  # type: ignore[arg-type]
    for way in [*lists.ways(page)] or [lists.EVERY]:
        first, *others = plan(connection, *lists.page_query(page, way, STRETCH)).splitlines()
        assert first == WAYS[way.source]
        assert not re.search(r"SCAN|TEMP B-TREE|[<>]", "\n".join(others))


@pytest.mark.parametrize("names", [names for names in COMBINATIONS if len(names) > 1], ids=" ".join)
def test_how_far_a_list_may_go_is_read_from_an_index_alone(
    connection: sqlite3.Connection, names: Sequence[str]
) -> None:
    page = Page(**{name: FILTERS[name] for name in names})  # type: ignore[arg-type]
    for way in lists.ways(page):
        (step,) = plan(connection, *lists.floor_query(way, STRETCH)).splitlines()
        assert step.replace("COVERING ", "") == WAYS[way.source].replace("COVERING ", "")


def test_a_claim_reads_what_is_due_from_its_index_in_order(connection: sqlite3.Connection) -> None:
    steps = plan(connection, deliver.DUE)

    assert "SEARCH mail USING INDEX mail_claimable (lane=? AND claimable_at<?)" in steps
    assert "TEMP B-TREE" not in steps


def test_what_expires_is_found_in_its_index(connection: sqlite3.Connection) -> None:
    steps = plan(connection, renewal.OVER)

    assert "SEARCH mail USING INDEX mail_expires (expires_at<?)" in steps
    assert "TEMP B-TREE" not in steps


def test_what_has_moved_is_found_by_when_and_new_mails_by_their_numbers(connection: sqlite3.Connection) -> None:
    steps = plan(connection, moved.MOVED, (0.0, 0, 9))

    assert "SEARCH mail USING INDEX mail_moved (updated_at>?)" in steps
    assert "SEARCH mail USING INTEGER PRIMARY KEY (rowid>?)" in steps
    assert not re.search("SCAN mail|TEMP B-TREE", steps)
    assert "SEARCH attempt USING PRIMARY KEY (mail=?)" in plan(connection, moved.TRIED)


def test_the_oldest_claimable_is_at_the_head_of_a_lane(connection: sqlite3.Connection) -> None:
    steps = plan(connection, reads.OLDEST_CLAIMABLE)

    assert "SEARCH mail USING COVERING INDEX mail_claimable (lane=? AND claimable_at>?)" in steps
    assert not re.search("SCAN mail|TEMP B-TREE", steps)


@pytest.mark.parametrize(
    "sql",
    [
        *(reads.MAIL_BY_ID, reads.RECORD_BY_ID, reads.RECIPIENTS, reads.DOUBTED, reads.ATTEMPTS, reads.EVENTS),
        *(deliver.STANDING, deliver.RUNNING, deliver.SENDING, deliver.END_ATTEMPT, deliver.SETTLE, deliver.LEASE),
        *(deliver.SET_RECIPIENT, deliver.INSERT_EVENT, deliver.RELEASE, deliver.DOUBT, deliver.REQUEUE),
        *(deliver.END_LEASES, deliver.SET_QUEUED, renewal.STANDING, renewal.RETRY, renewal.ASK_FOR_ALL, renewal.EXPIRE),
        *(accept.FIRST_ANSWER, accept.FORGET_KEYS),
        *(reads.PAYLOADS, deliver.RESOLVE, deliver.HAS_PAYLOAD, deliver.FORGET_PAYLOADS),
        *(retention.OLD_BODIES, retention.OLD_MAILS, retention.MAILS_TO, retention.WAITING_TO, retention.DELETE_BODIES),
        *(retention.MARK_ERASED, retention.DELETE_MAILS, retention.HIDE_SUBJECTS, retention.HIDE_RECIPIENT),
        *(retention.HIDE_WORDS, retention.HIDE_EVENTS),
    ],
)
def test_no_other_statement_scans_a_table(connection: sqlite3.Connection, sql: str) -> None:
    numbered = re.sub(r"\?\d", "?", sql)
    steps = plan(connection, numbered)

    assert not re.search(r"SCAN (mail|body|recipient|attempt|event|idempotency|payload)\b", steps), steps


@pytest.mark.parametrize(
    ("sql", "index"), [(retention.OLD_BODIES, "mail_with_body"), (retention.OLD_MAILS, "mail_without_body")]
)
def test_what_may_be_forgotten_is_found_by_its_own_index_in_order(
    connection: sqlite3.Connection, sql: str, index: str
) -> None:
    steps = plan(connection, sql)

    assert f"SEARCH mail USING INDEX {index} (updated_at<?)" in steps
    assert "TEMP B-TREE" not in steps


def test_the_interrupted_attempts_are_found_by_their_own_small_index(connection: sqlite3.Connection) -> None:
    assert "SCAN attempt USING INDEX attempt_running" in plan(connection, deliver.INTERRUPT)


def test_doubts_are_counted_in_their_own_small_index(connection: sqlite3.Connection) -> None:
    assert plan(connection, reads.DOUBTS) == "SCAN attempt USING INDEX attempt_in_doubt"
