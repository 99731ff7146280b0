"""Rows for the tests of the outbox: short to write, unlike each other."""

import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from mailsvc.addition import Added, Addition
from mailsvc.address import Mailbox
from mailsvc.attempt import Beginning, Settlement
from mailsvc.model import Mail, OnUncertain, Outcome, Record, Status
from mailsvc.outbox.base import Outbox

OpenStore = Callable[[], AbstractAsyncContextManager[Outbox]]

NOW = 1_800_000_000.0
CONSIDERED = [{"provider": "alpha", "score": 50.0, "state": "chosen"}]
NUMBERS = itertools.count(1)


def mail(created_at: float = NOW, **fields: Any) -> Mail:
    number = next(NUMBERS)
    given = {
        "id": f"01890000-0000-7000-8000-{number:012d}",
        "created_at": created_at,
        "sender": Mailbox("sender@example.com", "The Sender"),
        "to": (Mailbox(f"reader{number}@example.com", "A Reader"),),
        "subject": f"Mail {number}",
        "on_uncertain": OnUncertain.RESEND,
        "content": f"**Hello** {number}",
    }
    return Mail(**{**given, **fields})


def addition(
    due_at: float = NOW, *, key: str | None = None, owner: str = "", fingerprint: str = "f", **fields: Any
) -> Addition:
    return Addition(mail(**fields), due_at, owner=owner, idempotency_key=key, fingerprint=fingerprint)


def beginning(mail_id: str, n: int = 1, provider: str = "alpha", at: float = NOW) -> Beginning:
    return Beginning(mail_id, n, provider, 50.0, CONSIDERED, at)


def settlement(mail_id: str, n: int = 1, **fields: Any) -> Settlement:
    given = {
        "mail_id": mail_id,
        "n": n,
        "outcome": Outcome.ACCEPTED if n else None,
        "status": Status.SENT,
        "due_at": None,
        "rounds": 0,
        "ended_at": NOW + 1,
    }
    return Settlement(**{**given, **fields})


def failure(mail_id: str, n: int = 1, **fields: Any) -> Settlement:
    """An attempt at a provider that is down, with another one to be asked in the same go."""
    return settlement(mail_id, n, **{"outcome": Outcome.DOWN, "status": Status.SENDING, "due_at": NOW, **fields})


async def store(outbox: Outbox, *additions: Addition) -> list[str]:
    """Add the mails and give their ids."""
    results = await outbox.add(additions or [addition()])
    added = [result for result in results if isinstance(result, Added)]
    assert len(added) == len(results), results
    return [result.id for result in added]


async def start(outbox: Outbox, *additions: Addition, now: float = NOW) -> list[str]:
    """Add, claim and begin the mails."""
    ids = await store(outbox, *additions)
    await outbox.claim(100, now, 60)
    assert await outbox.begin([beginning(mail_id, at=now) for mail_id in ids]) == [None] * len(ids)
    return ids


async def shown(outbox: Outbox, mail_id: str) -> Record:
    """The record of a mail that is there."""
    record = await outbox.get(mail_id)
    assert record is not None
    return record


async def status(outbox: Outbox, mail_id: str) -> Status:
    return (await shown(outbox, mail_id)).status
