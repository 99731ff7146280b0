"""Changes of templates on PostgreSQL: by several processes at once, and where the connection is cut."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mailsvc.outbox.postgres.server import Server
from mailsvc.outbox.postgres.trouble import Lost
from mailsvc.template import Template
from tests.contract.samples import NOW
from tests.postgres import PostgresServer
from tests.unit.outbox_postgres import Wire, opened


def template(subject: str) -> Template:
    return Template.of("welcome", {"subject": subject, "text": "Hi"})


async def test_changes_by_several_processes_get_numbers_one_after_the_other(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with opened(url) as one, opened(url) as other:
        puts = [each.templates.put(template(f"{n}"), NOW) for n, each in enumerate([one, other] * 10)]
        made = await asyncio.gather(*puts)

    assert sorted(each.version or 0 for each in made) == list(range(1, 21))


async def test_a_change_whose_connection_is_cut_is_made_once(postgres: PostgresServer) -> None:
    url = postgres.create()
    async with Wire(postgres) as wire, opened(wire.url(url)) as outbox:
        await outbox.templates.put(template("first"), NOW)
        wire.cut_answers = 1
        second = await outbox.templates.put(template("second"), NOW)
        wire.cut_requests = 1
        third = await outbox.templates.put(template("third"), NOW)

    assert (second.version, third.version) == (2, 3)


async def test_a_change_whose_commit_got_no_answer_is_found(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact, lost = Server.transact, list[bool]()

    async def commit_and_lose(server: Server, work: Callable[[Any], Awaitable[Any]]) -> Any:
        done = await transact(server, work)
        if not lost:
            lost.append(True)
            raise Lost("cut")
        return done

    monkeypatch.setattr(Server, "transact", commit_and_lose)
    async with opened(postgres.create()) as outbox:
        first = await outbox.templates.put(template("first"), NOW)
        lost.clear()
        removed = await outbox.templates.remove("welcome", NOW + 1)
        again = await outbox.templates.remove("welcome", NOW + 1)

    assert (first.version, removed, again) == (1, True, False)
