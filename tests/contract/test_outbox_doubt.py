"""What every outbox keeps of a doubt: the payload that can be sent again, and how the doubt was settled."""

from dataclasses import replace

import pytest

from mailsvc.errors import Conflict
from mailsvc.model import Event, OnUncertain, Outcome, Payload, Resolution, Status
from mailsvc.outbox.base import Outbox
from tests.contract.samples import (
    NOW,
    OpenStore,
    addition,
    beginning,
    failure,
    settlement,
    shown,
    status,
    store,
)

PAYLOAD = Payload("alpha", "key-1", b'{"to":"\x00\xff"}', NOW)
UNCLEAR = {"outcome": Outcome.UNANSWERED, "status": Status.UNCERTAIN, "due_at": NOW + 5}


async def begun(outbox: Outbox, payload: Payload | None = PAYLOAD, on_uncertain: str = "resend") -> str:
    """A mail in its first attempt."""
    (mail_id,) = await store(outbox, addition(on_uncertain=OnUncertain(on_uncertain)))
    await outbox.claim(1, NOW, 60)
    assert await outbox.begin([replace(beginning(mail_id), payload=payload)]) == [None]
    return mail_id


async def test_a_mail_in_doubt_is_claimed_with_what_its_provider_was_handed(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await begun(outbox)
        await outbox.settle([settlement(mail_id, **UNCLEAR)])
    async with open_store() as outbox:
        (claimed,) = await outbox.claim(1, NOW + 5, 60)

    assert (claimed.uncertain, claimed.doubted, claimed.payloads) == (True, frozenset({"alpha"}), (PAYLOAD,))


async def test_a_mail_that_waits_without_a_doubt_is_not_uncertain(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await begun(outbox)
        await outbox.settle([failure(mail_id, status=Status.QUEUED)])
        (claimed,) = await outbox.claim(1, NOW, 60)

    assert (claimed.uncertain, claimed.doubted, claimed.payloads) == (False, frozenset(), (PAYLOAD,))


async def test_the_first_payload_for_a_provider_stays_and_each_provider_has_its_own(open_store: OpenStore) -> None:
    other, beta = replace(PAYLOAD, body=b"other", at=NOW + 9), Payload("beta", "key-2", b"b", NOW + 1)
    async with open_store() as outbox:
        mail_id = await begun(outbox)
        await outbox.settle([failure(mail_id)])
        await outbox.begin([replace(beginning(mail_id, 2), payload=other)])
        await outbox.settle([failure(mail_id, 2)])
        await outbox.begin([replace(beginning(mail_id, 3, "beta"), payload=beta)])
        await outbox.settle([settlement(mail_id, 3, **UNCLEAR)])
        (claimed,) = await outbox.claim(1, NOW + 5, 60)

    assert claimed.payloads == (PAYLOAD, beta)


async def test_an_attempt_that_may_not_begin_leaves_no_payload(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await store(outbox)
        (refused,) = await outbox.begin([replace(beginning(mail_id, 2), payload=PAYLOAD)])
        (claimed,) = await outbox.claim(1, NOW, 60)

    assert isinstance(refused, Conflict)
    assert claimed.payloads == ()


@pytest.mark.parametrize("final", [Status.SENT, Status.FAILED, Status.REJECTED])
async def test_a_payload_is_erased_once_the_mails_fate_is_settled(open_store: OpenStore, final: Status) -> None:
    async with open_store() as outbox:
        mail_id = await begun(outbox)
        await outbox.settle([settlement(mail_id, status=final)])
        mail = await outbox.mail(mail_id)

    assert mail is not None
    assert mail.payloads == ()


@pytest.mark.parametrize("policy", ["resend", "hold"])
async def test_an_interrupted_attempt_with_a_payload_is_due_at_once_whatever_the_policy(
    open_store: OpenStore, gone: float, policy: str
) -> None:
    async with open_store() as outbox:
        mail_id = await begun(outbox, on_uncertain=policy)
    async with open_store() as outbox:
        doubtful = await outbox.recover(gone, 60)
        record = await shown(outbox, mail_id)
        (claimed,) = await outbox.claim(1, gone, 60)

    assert doubtful == [mail_id]
    assert (record.status, record.due_at, claimed.payloads) == (Status.UNCERTAIN, gone, (PAYLOAD,))


async def test_a_payload_for_another_provider_brings_no_interrupted_mail_forward(
    open_store: OpenStore, gone: float
) -> None:
    async with open_store() as outbox:
        mail_id = await begun(outbox)
        await outbox.settle([failure(mail_id)])
        await outbox.begin([beginning(mail_id, 2, "beta")])
    async with open_store() as outbox:
        await outbox.recover(gone, 60)
        record = await shown(outbox, mail_id)

    assert (record.status, record.due_at) == (Status.UNCERTAIN, gone + 60)


async def test_an_interrupted_attempt_is_an_event_of_its_mail(open_store: OpenStore, gone: float) -> None:
    async with open_store() as outbox:
        mail_id = await begun(outbox, None)
    async with open_store() as outbox:
        await outbox.recover(gone, 60)
        record = await shown(outbox, mail_id)

    (event,) = record.events
    assert (event.type, event.at, event.provider, event.recipient) == ("uncertain", gone, "alpha", None)
    assert event.detail == record.attempts[0].detail


async def test_doubts_are_counted_by_provider_and_by_what_settled_them(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        before = await outbox.doubts()
        same_key, resent, by_hand, still_open, clear = [await begun(outbox) for _ in range(5)]
        await outbox.settle([settlement(mail_id, **UNCLEAR) for mail_id in (same_key, resent, by_hand, still_open)])
        await outbox.settle([settlement(clear)])
        await outbox.begin([beginning(same_key, 2), replace(beginning(resent, 2, "beta"), resolved=Resolution.RESEND)])
        await outbox.settle(
            [
                settlement(same_key, 2, resolved=Resolution.SAME_KEY),
                settlement(resent, 2, **UNCLEAR),
                settlement(by_hand, 0, status=Status.FAILED, resolved=Resolution.HAND),
            ]
        )
        after = await outbox.doubts()
        records = [await shown(outbox, mail_id) for mail_id in (same_key, resent, by_hand, still_open, clear)]

    grown = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
    assert grown == {
        ("alpha", Resolution.SAME_KEY): 1,
        ("alpha", Resolution.RESEND): 1,
        ("alpha", Resolution.HAND): 1,
        ("alpha", None): 1,
        ("beta", None): 1,
    }
    assert [[attempt.resolved for attempt in record.attempts] for record in records] == [
        [Resolution.SAME_KEY, None],
        [Resolution.RESEND, None],
        [Resolution.HAND],
        [None],
        [None],
    ]


async def test_a_provider_is_not_doubted_any_more_once_the_same_key_has_settled_it(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await begun(outbox)
        await outbox.settle([settlement(mail_id, **UNCLEAR)])
        await outbox.begin([beginning(mail_id, 2)])
        await outbox.settle([failure(mail_id, 2, status=Status.QUEUED, resolved=Resolution.SAME_KEY)])
        (claimed,) = await outbox.claim(1, NOW, 60)

    assert claimed.doubted == frozenset()


async def test_a_provider_stays_doubted_after_a_resend(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await begun(outbox)
        await outbox.settle([settlement(mail_id, **UNCLEAR)])
        await outbox.begin([replace(beginning(mail_id, 2, "beta"), resolved=Resolution.RESEND)])
        await outbox.settle([failure(mail_id, 2, status=Status.QUEUED)])
        (claimed,) = await outbox.claim(1, NOW, 60)

    assert claimed.doubted == frozenset({"alpha"})


async def test_a_standing_may_depend_on_the_status_that_was_seen(open_store: OpenStore) -> None:
    decided = {"status": Status.SENT, "resolved": Resolution.HAND, "events": (Event("resolved", NOW),)}
    async with open_store() as outbox:
        (queued,) = await store(outbox)
        uncertain = await begun(outbox)
        await outbox.settle([settlement(uncertain, **UNCLEAR)])
        rows = [settlement(each, 0, expected=Status.UNCERTAIN, **decided) for each in (queued, uncertain, uncertain)]

        assert await outbox.settle(rows) == [False, True, False]
        assert (await status(outbox, queued), await status(outbox, uncertain)) == (Status.QUEUED, Status.SENT)
        assert len((await shown(outbox, uncertain)).events) == 1
        assert (await shown(outbox, queued)).events == ()
