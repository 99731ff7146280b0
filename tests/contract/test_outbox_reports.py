"""What reports make of mails, in every outbox."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mailsvc.address import Mailbox
from mailsvc.errors import Conflict
from mailsvc.merge import ORDER, Known, Merged, merge
from mailsvc.model import Outcome, Report, ReportType, Resolution, Status
from mailsvc.outbox.base import KEEP_UNMATCHED, LOOK_AGAIN, Fate, Outbox
from tests.contract.samples import (
    NOW,
    OpenStore,
    addition,
    beginning,
    failure,
    settlement,
    shown,
    start,
    status,
    store,
)

LATER = NOW + 100


def report(mail_id: str | None, kind: str = "delivered", **fields: Any) -> Report:
    given = {"event": f"{mail_id} {kind} {sorted(fields.items())}", "provider": "alpha", "at": NOW + 50, **fields}
    return Report(ReportType(kind), mail_id=mail_id, **given)


async def tell(outbox: Outbox, *reports: Report, now: float = LATER) -> list[Fate]:
    """Keep reports and merge them."""
    assert not [each for each in await outbox.report(reports, now) if isinstance(each, Exception)]
    return [folded.fate for folded in await outbox.fold(1000, now)]


async def sent(outbox: Outbox, *people: str, **how: Any) -> str:
    """A mail that alpha has accepted."""
    to = {"to": tuple(Mailbox(person) for person in people)} if people else {}
    (mail_id,) = await start(outbox, addition(**to))
    await outbox.settle([settlement(mail_id, **{"provider": "alpha", "provider_message_id": "a-1", **how})])
    return mail_id


async def test_a_report_becomes_the_status_of_its_mail_and_an_event(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox, "ann@example.com")
        kept = await outbox.report([report(mail_id, recipient="ANN@example.com", detail="250 ok")], LATER)
        before = await status(outbox, mail_id)
        (folded,) = await outbox.fold(10, LATER + 1)
        record, counts = await shown(outbox, mail_id), await outbox.counts()

    assert (kept, before) == ([True], Status.SENT)
    assert (folded.mail_id, folded.was, folded.status) == (mail_id, Status.SENT, Status.DELIVERED)
    assert (record.status, record.updated_at, record.error) == (Status.DELIVERED, LATER + 1, None)
    assert [person.status for person in record.recipients] == [Status.DELIVERED]
    (event,) = record.events
    assert (event.type, event.at, event.provider) == ("delivered", NOW + 50, "alpha")
    assert (event.recipient, event.detail) == ("ann@example.com", "250 ok")
    assert (counts[Status.SENT], counts[Status.DELIVERED]) == (0, 1)


async def test_a_report_is_kept_once_however_often_it_comes(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox)
        row = report(mail_id, "opened", event="e-1")
        first = await outbox.report([row] * 500, LATER)
        await outbox.fold(10, LATER)
        again = await outbox.report([row] * 500, LATER + 1)
        left = await outbox.fold(10, LATER + 1)
        record = await shown(outbox, mail_id)

    assert (sum(map(bool, first)), again, left) in ((1, [False] * 500, []), (500, [False] * 500, []))
    assert [event.type for event in record.events] == ["opened"]
    assert record.status is Status.SENT


async def test_what_is_kept_is_still_there_after_the_process_has_ended(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox)
        await outbox.report([report(mail_id)], LATER)
    async with open_store() as outbox:
        await outbox.fold(10, LATER)

        assert await status(outbox, mail_id) is Status.DELIVERED


async def test_a_token_is_good_for_one_report(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox)
        genuine = report(mail_id, event="e-1", token="t")
        forged = report(mail_id, "complained", event="e-2", token="t")
        other = replace(forged, provider="beta")
        results = [(await outbox.report([each], LATER))[0] for each in (genuine, genuine, forged, other)]
        await outbox.fold(10, LATER)

        assert results[:2] == [True, False]
        assert [type(each) for each in results[2:]] == [Conflict, bool]
        assert await status(outbox, mail_id) is Status.DELIVERED


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        (["sent"], Status.SENT),
        (["delayed"], Status.DELAYED),
        (["delivered", "delayed", "sent"], Status.DELIVERED),
        (["rejected"], Status.REJECTED),
        (["bounced"], Status.BOUNCED),
        (["delivered", "bounced", "delivered"], Status.BOUNCED),
        (["complained", "bounced", "delivered"], Status.COMPLAINED),
        (["opened", "clicked", "unsubscribed"], Status.SENT),
        (["rejected", "delivered"], Status.DELIVERED),
    ],
)
async def test_a_status_goes_forward_alone(open_store: OpenStore, reports: list[str], expected: Status) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox)
        for kind in reports:
            await tell(outbox, report(mail_id, kind))
        record = await shown(outbox, mail_id)

    assert (record.status, record.recipients[0].status) == (expected, expected)
    assert [event.type for event in record.events] == list(dict.fromkeys(reports))


async def test_a_soft_bounce_is_a_delay_and_a_hard_one_says_why(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox)
        await tell(outbox, report(mail_id, "bounced", permanent=False, detail="mailbox full"))
        soft = await status(outbox, mail_id)
        await tell(outbox, report(mail_id, "bounced", permanent=True, detail="no such user"))
        record = await shown(outbox, mail_id)

    assert (soft, record.status, record.error) == (Status.DELAYED, Status.BOUNCED, "alpha: no such user")
    assert [event.detail for event in record.events] == ["soft: mailbox full", "hard: no such user"]


async def test_the_mail_has_the_worst_news_of_its_recipients(open_store: OpenStore) -> None:
    people = ("ann@example.com", "bob@example.com", "cid@example.com")
    words = []
    async with open_store() as outbox:
        mail_id = await sent(outbox, *people)
        for kind, person in zip(("delivered", "delayed", "delivered", "delivered", "bounced"), "abcba", strict=True):
            to = next(each for each in people if each.startswith(person))
            await tell(outbox, report(mail_id, kind, recipient=to))
            words.append(await status(outbox, mail_id))
        record = await shown(outbox, mail_id)

    assert words == [Status.SENT, Status.DELAYED, Status.DELAYED, Status.DELIVERED, Status.BOUNCED]
    assert [each.status for each in record.recipients] == [Status.BOUNCED, Status.DELIVERED, Status.DELIVERED]


async def test_who_was_refused_at_hand_over_does_not_keep_a_mail_from_being_delivered(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        left_out = {"recipients": {"bob@example.com": Status.REJECTED}}
        mail_id = await sent(outbox, "ann@example.com", "bob@example.com", **left_out)
        await tell(outbox, report(mail_id, recipient="ann@example.com"))
        record = await shown(outbox, mail_id)

    assert record.status is Status.DELIVERED
    assert [each.status for each in record.recipients] == [Status.DELIVERED, Status.REJECTED]


async def test_a_report_that_names_nobody_is_about_all(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox, "ann@example.com", "bob@example.com")
        await tell(outbox, report(mail_id))
        record = await shown(outbox, mail_id)

    assert [each.status for each in record.recipients] == [Status.DELIVERED, Status.DELIVERED]


async def test_what_cannot_be_about_the_mail_changes_nothing(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox, "ann@example.com")
        before = await shown(outbox, mail_id)
        foreign = [
            report(mail_id, recipient="eve@example.com"),
            report(mail_id, provider="beta"),
            report("01890000-0000-7000-8000-999999999999"),
            report("no id"),
            report(None),
        ]
        fates = await tell(outbox, *foreign)

        assert fates == [Fate.UNMATCHED] * 5
        assert await shown(outbox, mail_id) == before
        assert await outbox.fold(10, LATER + 10**6) == []


async def test_a_mail_is_found_by_what_the_provider_calls_it(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox, "ann@example.com", provider_message_id="<a-1@alpha>")
        other = await sent(outbox, "ann@example.com", provider_message_id="a-2")
        named = report(None, recipient="Ann@example.com", provider_message_id="a-1@alpha")
        fates = await tell(outbox, named, replace(named, provider="beta", event="e-2"))

        assert fates == [Fate.MERGED, Fate.WAITS]
        assert (await status(outbox, mail_id), await status(outbox, other)) == (Status.DELIVERED, Status.SENT)


async def test_a_report_may_come_before_the_answer_that_names_the_mail(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox, addition(to=(Mailbox("ann@example.com"),)))
        early = report(None, recipient="ann@example.com", provider_message_id="a-1")
        first = await tell(outbox, early)
        await outbox.settle([settlement(mail_id, provider="alpha", provider_message_id="a-1")])
        too_early = await outbox.fold(10, LATER + LOOK_AGAIN[0] - 1)
        (folded,) = await outbox.fold(10, LATER + LOOK_AGAIN[0])

        assert (first, too_early, folded.fate) == ([Fate.WAITS], [], Fate.MERGED)
        assert await status(outbox, mail_id) is Status.DELIVERED


async def test_a_report_that_stays_without_a_mail_is_given_up_and_forgotten(open_store: OpenStore) -> None:
    fates = []
    async with open_store() as outbox:
        foreign = report(None, recipient="ann@example.com", provider_message_id="x")
        now = LATER
        fates += await tell(outbox, foreign)
        for wait in LOOK_AGAIN:
            now += wait
            fates += [each.fate for each in await outbox.fold(10, now)]
        rest = await outbox.fold(10, now + 10**6)
        await outbox.tidy(LATER + KEEP_UNMATCHED + 1)
        known = await outbox.report([foreign], now)

    assert fates == [Fate.WAITS] * len(LOOK_AGAIN) + [Fate.UNMATCHED]
    assert (rest, known) == ([], [True])


async def test_a_report_settles_a_doubt_and_cancels_what_was_to_come(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        doubt = {"status": Status.UNCERTAIN, "outcome": Outcome.UNANSWERED, "due_at": NOW + 60, "error": "no answer"}
        await outbox.settle([settlement(mail_id, provider="alpha", **doubt)])
        await tell(outbox, report(mail_id, "sent", provider_message_id="a-7"), now=NOW + 30)
        record, doubts = await shown(outbox, mail_id), await outbox.doubts()
        due = await outbox.claim(10, NOW + 10**6, 60)

    assert (record.status, record.due_at, record.error, due) == (Status.SENT, None, None, [])
    assert (record.provider, record.provider_message_id) == ("alpha", "a-7")
    assert record.attempts[0].resolved is Resolution.REPORT
    assert doubts == {("alpha", Resolution.REPORT): 1}
    assert [(event.type, event.detail) for event in record.events] == [
        ("sent", None),
        ("resolved", "by a report (sent): sent"),
    ]


async def test_a_report_on_a_claimed_mail_keeps_it_from_being_sent_again(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        doubt = {"status": Status.UNCERTAIN, "outcome": Outcome.UNANSWERED, "due_at": NOW + 60}
        await outbox.settle([settlement(mail_id, provider="alpha", **doubt)])
        (claimed,) = await outbox.claim(10, NOW + 60, 60)
        await tell(outbox, report(mail_id, "opened"))
        (refused,) = await outbox.begin([beginning(claimed.id, 2, "beta")])

        assert type(refused) is Conflict
        assert await status(outbox, mail_id) is Status.SENT


async def test_a_report_in_mid_attempt_stands_whatever_the_attempt_says(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await tell(outbox, report(mail_id))
        during = await shown(outbox, mail_id)
        applied = await outbox.settle([failure(mail_id, ended_at=LATER + 1)])
        (refused,) = await outbox.begin([beginning(mail_id, 2, "beta")])
        await outbox.fold(10, LATER + 2)
        record = await shown(outbox, mail_id)

    assert (during.status, during.attempts[0].outcome) == (Status.DELIVERED, None)
    assert (applied, type(refused)) == ([True], Conflict)
    assert (record.status, record.attempts[0].outcome) == (Status.DELIVERED, Outcome.DOWN)
    assert [event.type for event in record.events] == ["delivered", "resolved"]


async def test_a_mail_that_has_failed_was_delivered_if_a_report_says_so(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.settle([settlement(mail_id, outcome=Outcome.REFUSED, status=Status.FAILED, error="no")])
        await tell(outbox, report(mail_id))
        record = await shown(outbox, mail_id)

    assert (record.status, record.error) == (Status.DELIVERED, None)


async def resent(outbox: Outbox, **second: Any) -> str:
    """A mail in doubt at alpha that was given to beta, which is being asked."""
    (mail_id,) = await start(outbox)
    doubt = {"status": Status.UNCERTAIN, "outcome": Outcome.UNANSWERED, "due_at": NOW + 60}
    await outbox.settle([settlement(mail_id, provider="alpha", **doubt)])
    await outbox.begin([replace(beginning(mail_id, 2, "beta"), resolved=Resolution.RESEND, **second)])
    return mail_id


async def test_two_providers_that_both_tell_of_a_mail_have_sent_it_twice(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await resent(outbox)
        await outbox.settle([settlement(mail_id, 2, provider="beta", provider_message_id="b-1")])
        await outbox.report([report(mail_id, provider="beta"), report(mail_id, "sent")], LATER)
        folded = await outbox.fold(10, LATER)
        await outbox.report([report(mail_id)], LATER)
        again = await outbox.fold(10, LATER)
        record = await shown(outbox, mail_id)

    assert [each.doubled for each in (*folded, *again)] == [True, False, False]
    (double,) = [event for event in record.events if event.type == "double"]
    assert double.detail == "alpha and beta have both sent it"
    assert (record.provider, record.provider_message_id) == ("beta", "b-1")


async def test_a_double_is_known_also_when_the_report_comes_before_the_second_answer(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await resent(outbox)
        await tell(outbox, report(mail_id))
        await outbox.settle([settlement(mail_id, 2, provider="beta", ended_at=LATER + 1)])
        (folded,) = await outbox.fold(10, LATER + 1)
        record = await shown(outbox, mail_id)

    assert folded.doubled
    assert (record.status, record.events[-1].type) == (Status.DELIVERED, "double")


async def test_one_provider_that_has_two_names_for_a_mail_has_sent_it_twice(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        (mail_id,) = await start(outbox)
        await outbox.settle([failure(mail_id)])
        await outbox.begin([beginning(mail_id, 2)])
        await outbox.settle([settlement(mail_id, 2, provider="alpha", provider_message_id="a-2")])
        await outbox.report([report(mail_id, provider_message_id="a-2")], LATER)
        (same,) = await outbox.fold(10, LATER)
        await outbox.report([report(mail_id, provider_message_id="a-1")], LATER)
        (other,) = await outbox.fold(10, LATER)

    assert (same.doubled, other.doubled) == (False, True)


async def test_what_one_provider_dropped_and_another_sent_is_no_double(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await resent(outbox)
        await outbox.settle([settlement(mail_id, 2, provider="beta", provider_message_id="b-1")])
        await outbox.report([report(mail_id, "rejected"), report(mail_id, provider="beta")], LATER)
        folded = await outbox.fold(10, LATER)

        assert not any(each.doubled for each in folded)
        assert await status(outbox, mail_id) is Status.DELIVERED


async def test_nothing_of_an_erased_recipient_comes_back_with_a_report(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox, "ann@example.com")
        waits = report(None, recipient="ANN@example.com", provider_message_id="x")
        await tell(outbox, waits)
        await outbox.erase("ann@example.com", LATER)
        fates = await tell(outbox, report(mail_id, recipient="ann@example.com", detail="ann is not here"))
        record, known = await shown(outbox, mail_id), await outbox.report([waits], LATER)

    assert (fates, record.status, known) == ([Fate.MERGED], Status.DELIVERED, [True])
    assert "ann" not in str(record.events)


async def test_reports_go_with_their_mail(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox)
        await tell(outbox, report(mail_id, event="e"))
        while await outbox.forget(LATER + 1, LATER + 1, LATER + 1):
            pass
        await outbox.forget(LATER + 2, LATER + 2, LATER + 2)

        assert await outbox.get(mail_id) is None
        assert await tell(outbox, report(mail_id, event="e")) == [Fate.UNMATCHED]


async def test_a_report_that_cannot_be_stored_spoils_no_other(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        mail_id = await sent(outbox)
        results = await outbox.report([report(mail_id, event="\ud800"), report(mail_id)], LATER)

        assert [type(each) for each in results] == [UnicodeEncodeError, bool]
        assert [each.fate for each in await outbox.fold(10, LATER)] == [Fate.MERGED]


async def test_a_report_that_an_error_keeps_from_being_merged_keeps_no_other_waiting(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(known: Known, reports: Sequence[Report], now: float) -> Merged:
        merged = merge(known, reports, now)
        poisoned = any(each.event == "poison" for each in reports)
        return replace(merged, people={0: Status.SENT, 1: "no status"}) if poisoned else merged  # type: ignore[dict-item]

    for name in ("sqlite", "postgres"):
        monkeypatch.setattr(f"mailsvc.outbox.{name}.inbox.merge", broken)
    async with open_store() as outbox:
        ann, bob = [await sent(outbox), await sent(outbox)]
        poison = report(ann, event="poison", recipient=None)
        first = await tell(outbox, poison, report(ann, "opened"), report(bob), report(None, recipient="?"))
        after = [await status(outbox, mail_id) for mail_id in (ann, bob)]
        now, fates = LATER, list[Fate]()
        for wait in LOOK_AGAIN:
            assert await outbox.fold(10, now + wait - 0.5) == []
            now += wait
            (folded,) = await outbox.fold(10, now)
            fates.append(folded.fate)
            assert isinstance(folded.error, AttributeError)
        rest = await outbox.fold(10, now + 30 * 86_400)
        events = [event.type for event in (await shown(outbox, ann)).events]

    assert first == [Fate.FAILED, Fate.MERGED, Fate.MERGED, Fate.UNMATCHED]
    assert after == [Status.SENT, Status.DELIVERED]
    assert fates == [Fate.FAILED] * (len(LOOK_AGAIN) - 1) + [Fate.GIVEN_UP]
    assert (rest, events) == ([], ["opened"])


async def test_no_more_reports_are_merged_than_there_is_room_for(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        ids = await store(outbox, *(addition() for _ in range(5)))
        await outbox.report([report(mail_id) for mail_id in ids], LATER)

        assert [len(await outbox.fold(3, LATER)) for _ in range(3)] == [3, 2, 0]


PEOPLE = ("ann@example.com", "bob@example.com", "cid@example.com")
KINDS = [kind.value for kind in ReportType]


async def ends(outbox: Outbox, told: list[Report], rng: random.Random, *, early: bool) -> list[tuple[Status, ...]]:
    """How the same mail ends with the same reports: in their order, and shuffled, repeated, in portions; each step."""
    steps = []
    for shuffled in (False, True):
        (mail_id,) = await start(outbox, addition(to=tuple(Mailbox(person) for person in PEOPLE)))
        mine = [replace(each, mail_id=mail_id, event=f"{mail_id} {number}") for number, each in enumerate(told)]
        rows = [rng.choice(mine) for _ in mine] + mine if shuffled else mine
        if shuffled:
            rng.shuffle(rows)
        ended = settlement(mail_id, provider="alpha", recipients={PEOPLE[2]: Status.REJECTED})
        if not (early and shuffled):
            await outbox.settle([ended])
        seen = []
        while rows:
            size = rng.randint(1, len(rows)) if shuffled else 1
            await tell(outbox, *rows[:size])
            rows = rows[size:]
            seen.append(await shown(outbox, mail_id))
        await outbox.settle([ended])
        await outbox.fold(100, LATER)
        seen.append(await shown(outbox, mail_id))
        steps.append([(each.status, *(person.status for person in each.recipients)) for each in seen])
    for told_at in steps:
        for word in range(4):
            ranks = [ORDER.index(each[word]) for each in told_at if each[word] in ORDER]
            assert ranks == sorted(ranks), told_at
    return [each[-1] for each in steps]


@pytest.mark.parametrize("seed", range(3))
async def test_shuffled_repeated_and_early_reports_end_in_the_same_status(open_store: OpenStore, seed: int) -> None:
    rng = random.Random(seed)
    async with open_store() as outbox:
        for _ in range(12):
            told = [
                report("", rng.choice(KINDS), permanent=rng.choice([True, False, None]), recipient=to)
                for to in rng.choices([*PEOPLE, None], k=rng.randint(1, 7))
            ]
            in_order, otherwise = await ends(outbox, told, rng, early=rng.random() < 0.5)

            assert in_order == otherwise, told
