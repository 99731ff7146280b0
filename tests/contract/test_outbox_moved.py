"""What has moved since a time: each mail once, as it stands now, with what was tried meanwhile."""

from dataclasses import replace

from mailsvc.addition import Addition
from mailsvc.model import Outcome, Status, new_id
from mailsvc.moves import Moved, Tried
from mailsvc.outbox.base import Outbox
from tests.contract.samples import NOW, OpenStore, addition, beginning, failure, settlement, store

BREAK = NOW + 100


def new(at: float, due_at: float | None = None) -> Addition:
    """A mail that is accepted at that time."""
    return addition(due_at or at, created_at=at, id=new_id(at))


async def told(outbox: Outbox, since: float = BREAK) -> list[Moved]:
    moves = await outbox.moved(since, 100)
    assert moves.whole
    return [replace(each, attempts=list(each.attempts)) for each in moves.mails]


async def test_what_moved_before_is_not_told(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        sent, sending, _ = await store(outbox, *(addition() for _ in range(3)))
        await outbox.begin([beginning(sent), beginning(sending)])
        await outbox.settle([settlement(sent, ended_at=BREAK - 1)])

        assert await told(outbox) == []
        assert [each.id for each in await told(outbox, BREAK - 1)] == [sent]


async def test_each_mail_that_moved_is_told_as_it_stands_in_the_order_of_the_moves(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        old, waits, again, canceled = await store(outbox, *(addition() for _ in range(4)))
        await outbox.begin([beginning(each, at=BREAK - 9) for each in (old, again)])
        fresh, runs, scheduled = await store(
            outbox,
            new(BREAK + 1),
            new(BREAK + 1),
            new(BREAK + 2, due_at=BREAK + 900),
        )
        await outbox.begin([beginning(runs, at=BREAK + 3)])
        await outbox.settle([settlement(old, ended_at=BREAK + 4)])
        await outbox.settle([settlement(canceled, 0, status=Status.CANCELED, ended_at=BREAK + 5)])
        failed = {"outcome": Outcome.DOWN, "status": Status.QUEUED, "due_at": BREAK + 60}
        await outbox.settle([settlement(again, ended_at=BREAK + 6, **failed)])
        found = await told(outbox)

    assert waits not in [each.id for each in found]
    assert found == [
        Moved(fresh, Status.QUEUED, BREAK + 1, []),
        Moved(scheduled, Status.SCHEDULED, BREAK + 2, []),
        Moved(runs, Status.SENDING, BREAK + 3, [Tried(1, "alpha", None, 50.0)]),
        Moved(old, Status.SENT, BREAK + 4, [Tried(1, "alpha", Outcome.ACCEPTED, 50.0)]),
        Moved(canceled, Status.CANCELED, BREAK + 5, []),
        Moved(again, Status.QUEUED, BREAK + 6, [Tried(1, "alpha", Outcome.DOWN, 50.0)]),
    ]


async def test_only_attempts_of_that_time_are_told(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox, addition())
        await outbox.begin([beginning(mail_id, at=NOW)])
        await outbox.settle([failure(mail_id, ended_at=NOW + 1)])
        await outbox.begin([beginning(mail_id, 2, "beta", at=BREAK + 1)])
        await outbox.settle([settlement(mail_id, 2, ended_at=BREAK + 2)])
        (found,) = await told(outbox)

    assert found.attempts == [Tried(2, "beta", Outcome.ACCEPTED, 50.0)]


async def test_of_too_many_the_last_ones_are_told(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        ids = await store(outbox, *(new(BREAK + n) for n in range(7)))
        await outbox.begin([beginning(each, at=BREAK + 20 + n) for n, each in enumerate(ids[:3])])
        await outbox.settle([settlement(each, ended_at=BREAK + 30 + n) for n, each in enumerate(ids[:3])])
        all_of_them, some = await outbox.moved(BREAK, 7), await outbox.moved(BREAK, 4)
        later = await outbox.moved(BREAK + 4, 4)

    assert [each.id for each in all_of_them.mails] == [*ids[3:], *ids[:3]]
    assert [each.id for each in some.mails] == [ids[6], *ids[:3]]
    assert [each.id for each in later.mails] == [ids[6], *ids[:3]]
    assert (all_of_them.whole, some.whole, later.whole) == (True, False, False)
