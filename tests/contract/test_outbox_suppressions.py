"""Who is not mailed any more, in every outbox: by hand, by what reports say, and how mails leave them out."""

import pytest

from mailsvc.address import Mailbox
from mailsvc.model import Status
from mailsvc.outbox.base import Outbox
from mailsvc.suppression import SOFT_FOR, SOFT_LIMIT, WHY, Reason, Suppression
from tests.contract.samples import NOW, OpenStore, addition, beginning, failure, settlement, shown, start
from tests.contract.test_outbox_reports import LATER, report, sent, tell

ANN, BOB, CLEO = (Mailbox(f"{name}@example.com") for name in ("ann", "bob", "cleo"))


def entry(address: str = "Ann@example.com", reason: Reason = Reason.MANUAL, until: float | None = None) -> Suppression:
    return Suppression(address, reason, "api", NOW, until)


async def listed(outbox: Outbox) -> list[tuple[str, Reason]]:
    return [(each.address, each.reason) for each in await outbox.suppressions.list("", 100)]


async def test_an_entry_is_kept_found_in_any_case_replaced_and_removed(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        store = outbox.suppressions
        await store.put([entry(), entry("bob@example.com", until=NOW + 10)])
        await store.put([entry("ANN@example.com", Reason.COMPLAINT)])

        before = await listed(outbox)
        among = await store.among(["aNN@example.com", "bob@example.com", "cleo@example.com"], NOW)
        later = await store.among(["ann@example.com", "bob@example.com"], NOW + 10)
        removed = [await store.remove("ann@EXAMPLE.com"), await store.remove("ann@example.com")]

        assert before == [("ann@example.com", Reason.COMPLAINT), ("bob@example.com", Reason.MANUAL)]
        assert sorted(among) == ["ann@example.com", "bob@example.com"]
        assert list(later) == ["ann@example.com"]
        assert removed == [True, False]
        assert await listed(outbox) == [("bob@example.com", Reason.MANUAL)]


async def test_the_list_is_read_page_by_page(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.suppressions.put([entry(f"r{number}@example.com") for number in range(5)])

        first = await outbox.suppressions.list("", 3)
        second = await outbox.suppressions.list(first[-1].address, 3)

    assert [each.address for each in [*first, *second]] == [f"r{number}@example.com" for number in range(5)]


async def test_a_mail_to_nobody_else_is_suppressed_at_once_and_never_claimed(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.suppressions.put([entry()])
        alone, mixed = addition(to=(ANN,), cc=(BOB,)), addition(to=(ANN, BOB), cc=(CLEO,))
        await outbox.add([alone, mixed])

        record, counts = await shown(outbox, alone.mail.id), await outbox.counts()
        claimed = await outbox.claim(10, NOW + 1, 60)

    assert (record.status, record.error, record.due_at) == (Status.SUPPRESSED, WHY, None)
    assert [(each.type, each.recipient, each.detail) for each in record.events] == [
        ("suppressed", "ann@example.com", "manual")
    ]
    assert (counts[Status.SUPPRESSED], counts[Status.QUEUED]) == (1, 1)
    assert [(mail.id, mail.to, mail.cc) for mail in claimed] == [(mixed.mail.id, (BOB,), (CLEO,))]


async def test_who_comes_onto_the_list_later_is_left_out_when_it_is_sent(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        alone, mixed = addition(NOW + 50, to=(ANN,)), addition(NOW + 50, to=(BOB,), bcc=(ANN,))
        await outbox.add([alone, mixed])
        await outbox.suppressions.put([entry()])

        claimed = await outbox.claim(10, NOW + 51, 60)
        record, counts = await shown(outbox, alone.mail.id), await outbox.counts()
        people = (await shown(outbox, mixed.mail.id)).recipients

    assert [(mail.id, mail.to, mail.bcc) for mail in claimed] == [(mixed.mail.id, (BOB,), ())]
    assert record.status is Status.SUPPRESSED
    assert [each.status for each in people] == [Status.QUEUED, Status.SUPPRESSED]
    assert (counts[Status.SUPPRESSED], counts[Status.SCHEDULED]) == (1, 0)


async def test_an_entry_that_has_ended_and_a_mail_that_ignores_the_list_are_sent(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.suppressions.put([entry(until=NOW), entry("bob@example.com")])
        await outbox.add([addition(to=(ANN,)), addition(to=(BOB,), ignore_suppression=True)])

        assert len(await outbox.claim(10, NOW + 1, 60)) == 2


async def test_a_mail_in_doubt_stays_in_doubt_since_it_may_have_arrived(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, addition(to=(ANN,)))
        await outbox.settle([settlement(mail_id, outcome=None, status=Status.UNCERTAIN, due_at=NOW + 60, n=1)])
        await outbox.suppressions.put([entry()])

        assert await outbox.claim(10, NOW + 61, 60) == []
        record = await shown(outbox, mail_id)

    assert (record.status, record.due_at, record.error) == (Status.UNCERTAIN, None, WHY)


async def test_a_running_attempt_is_left_alone(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, addition(to=(ANN,)))
        await outbox.suppressions.put([entry()])
        await outbox.settle([failure(mail_id)])
        await outbox.begin([beginning(mail_id, 2)])

        assert (await shown(outbox, mail_id)).status is Status.SENDING


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("bounced", {"permanent": True}, [("ann@example.com", Reason.BOUNCE)]),
        ("complained", {}, [("ann@example.com", Reason.COMPLAINT)]),
        ("bounced", {"permanent": False}, []),
        ("bounced", {}, []),
        ("rejected", {}, []),
        ("unsubscribed", {}, []),
        ("delivered", {}, []),
    ],
)
async def test_what_a_report_puts_on_the_list(
    open_store: OpenStore, kind: str, fields: dict[str, bool], expected: list[tuple[str, Reason]]
) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox, "Ann@example.com", "bob@example.com")
        await tell(outbox, report(mail_id, kind, recipient="ann@example.com", **fields))

        assert await listed(outbox) == expected


async def test_soft_bounces_count_by_mail_and_a_delivery_between_them_forgives(open_store: OpenStore) -> None:
    async with open_store() as outbox:

        async def bounce(*kinds: str) -> None:
            mail_id = await sent(outbox, "ann@example.com")
            await tell(outbox, *(report(mail_id, "bounced", permanent=False, detail=kind) for kind in kinds))

        await bounce("full", "full again", "and again")
        await bounce("full")
        await tell(outbox, report(await sent(outbox, "ann@example.com"), "delivered"))
        for _ in range(SOFT_LIMIT - 1):
            await bounce("full")
        before = await listed(outbox)
        await bounce("full")
        (found,) = await outbox.suppressions.list("", 10)

    assert before == []
    assert (found.reason, found.source, found.expires_at) == (Reason.SOFT_BOUNCES, "alpha", LATER + SOFT_FOR)


async def test_what_is_on_the_list_for_good_is_not_weakened_by_a_report(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.suppressions.put([entry(reason=Reason.COMPLAINT)])
        mail_id = await sent(outbox, "bob@example.com")
        other = addition(to=(ANN,), ignore_suppression=True)
        (other_id,) = await start(outbox, other)
        await outbox.settle([settlement(other_id, provider="alpha")])
        await tell(outbox, report(other_id, "bounced", permanent=True), report(mail_id, "delivered"))

        assert await listed(outbox) == [("ann@example.com", Reason.COMPLAINT)]


async def test_who_was_erased_does_not_come_onto_the_list_by_a_late_report(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox, "ann@example.com")
        await outbox.erase("ann@example.com", LATER)
        await tell(outbox, report(mail_id, "bounced", permanent=True, recipient="ann@example.com"))

        assert await listed(outbox) == []
