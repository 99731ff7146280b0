"""Callbacks in every outbox: a notice is written with the move it tells of, claimed by one, and ends as it was told."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mailsvc.address import Mailbox
from mailsvc.callback import (
    PATIENCE,
    TEST,
    TYPES,
    Callback,
    Ending,
    Notice,
    Off,
    Replay,
    Secret,
    State,
    Told,
    Try,
    new_callback,
)
from mailsvc.errors import Conflict
from mailsvc.model import Outcome, Report, ReportType, Status
from mailsvc.outbox.base import Outbox
from tests.contract.samples import NOW, OpenStore, addition, beginning, failure, settlement, start, store

ALL = Callback("cb_1", "https://a.example/x?y=1", ("*",), "Ünïque “words”", (Secret("whsec_QUJD"),), NOW)
SOME = Callback(
    "cb_2",
    "https://b.example",
    ("mail.bounced", "mail.failed"),
    "",
    (Secret("whsec_b"), Secret("whsec_a", 1.5)),
    NOW + 1,
)


def ended(notice: Notice, at: float = NOW + 2, error: str | None = None, **fields: object) -> Ending:
    """A try that was taken, or failed and is made again in a minute."""
    done = Try(notice.tries + 1, at, 0.25, 200 if error is None else 500, error)
    given = {"state": State.WAITING if error else State.DELIVERED, "due_at": at + 60 if error else None}
    return Ending(notice, done, **{**given, **fields})  # type: ignore[arg-type]


async def moved(outbox: Outbox, number: int = 1, status: Status = Status.SENT, at: float = NOW + 1) -> list[str]:
    """Mails that have got to a status."""
    ids = await start(outbox, *(addition() for _ in range(number)))
    told: dict[str, Any] = {"provider": "alpha", "provider_message_id": "m-1", "status": status, "ended_at": at}
    told["error"] = "no" if status is Status.FAILED else None
    await outbox.settle([settlement(mail_id, **told) for mail_id in ids])
    return ids


async def claimed(outbox: Outbox, callback_id: str = "cb_1", room: int = 9, now: float = NOW + 1) -> list[Notice]:
    return list(await outbox.callbacks.claim({callback_id: room}, now, 60.0))


async def test_callbacks_come_back_as_they_were_stored_oldest_first(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        none = list(await outbox.callbacks.all())
        await outbox.callbacks.add(SOME)
        await outbox.callbacks.add(ALL)
        with pytest.raises(Conflict):
            await outbox.callbacks.add(replace(ALL, url="https://c.example"))
    async with open_store() as outbox:
        assert none == []
        assert list(await outbox.callbacks.all()) == [ALL, SOME]


async def test_a_change_counts_once_and_only_for_who_saw_the_newest_version(open_store: OpenStore) -> None:
    changed = replace(ALL, url="https://d.example/", events=("mail.sent",), description="", secrets=SOME.secrets)
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        done = [await outbox.callbacks.change(each) for each in (changed, replace(changed, url="x"), SOME)]
        switched = [await outbox.callbacks.switch(each, NOW + 5) for each in ("cb_1", "cb_9", "\x00")]
        off = list(await outbox.callbacks.all())
        await outbox.callbacks.switch("cb_1", None)
    async with open_store() as outbox:
        assert done == [True, False, False]
        assert switched == [True, False, False]
        assert off == [replace(changed, version=2, disabled_at=NOW + 5, disabled_why=Off.HAND)]
        assert list(await outbox.callbacks.all()) == [replace(changed, version=2)]


async def test_a_callback_that_was_removed_is_told_nothing_more_and_its_notices_go(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        await moved(outbox, 3)
        removed = [await outbox.callbacks.remove(each, NOW + 2) for each in ("cb_1", "cb_1", "cb_9")]
        await moved(outbox)
        left = [await outbox.callbacks.all(), await outbox.callbacks.backlog()]
        before = await outbox.callbacks.log("cb_1", 9)
        while await outbox.callbacks.forget(NOW - 900):
            pass
        after = await outbox.callbacks.log("cb_1", 9)

    assert removed == [True, False, False]
    assert left == [[], {}]
    assert (len(before), list(after)) == (3, [])


async def test_a_move_is_told_to_whom_it_concerns_with_what_is_known_then(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        await outbox.callbacks.add(SOME)
        sent, failed = [*await moved(outbox), *await moved(outbox, status=Status.FAILED)]
        (first, second), (other,) = await claimed(outbox), await claimed(outbox, "cb_2")

    assert [(each.mail, each.type) for each in (first, second)] == [(sent, "mail.sent"), (failed, "mail.failed")]
    assert (first.at, first.provider, first.provider_message_id, first.error) == (NOW + 1, "alpha", "m-1", None)
    assert (first.state, first.rung, first.tries, first.due_at) == (State.WAITING, 0, 0, NOW + 1)
    assert (other.mail, other.callback, other.error) == (failed, "cb_2", "no")
    assert len({each.id for each in (first, second, other)}) == 3
    assert all(each.id.startswith("msg_") and len(each.id) == 36 for each in (first, second, other))


async def test_a_mail_on_its_way_is_no_news_and_every_other_status_is(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(replace(ALL, events=("mail.*",)))
        (later,) = await store(outbox, addition(due_at=NOW + 5))
        await outbox.claim(1, NOW + 5, 60)
        await outbox.begin([beginning(later, at=NOW + 5)])
        await outbox.settle([failure(later, ended_at=NOW + 6)])
        await outbox.begin([beginning(later, 2, at=NOW + 7)])
        on_its_way = await claimed(outbox, now=NOW + 8)
        told = [status for status in Status if status.settled]
        for status in told:
            await moved(outbox, status=status)
        found = [notice.type for notice in await claimed(outbox, room=20)]

    assert on_its_way == []
    assert found == [f"mail.{status}" for status in told] == list(TYPES)


async def test_a_report_is_told_when_it_moves_its_mail_and_not_when_it_changes_nothing(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        (mail_id,) = await moved(outbox)
        told = Report(ReportType.DELIVERED, event="e-1", provider="alpha", mail_id=mail_id, at=NOW + 2)
        late = replace(told, type=ReportType.DELAYED, event="e-2")
        for report in (told, told, late):
            await outbox.report([report], NOW + 3)
            await outbox.fold(10, NOW + 4)
        notices = await claimed(outbox, now=NOW + 5)

    assert [notice.type for notice in notices] == ["mail.sent", "mail.delivered"]
    assert (notices[1].mail, notices[1].at) == (mail_id, NOW + 4)


async def test_what_the_application_said_about_a_mail_is_told_to_it_again(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        (mail_id,) = await start(outbox, addition(tags=("welcome", "Ünï"), metadata={"order": "4“2"}))
        await outbox.settle([settlement(mail_id)])
        (notice,) = await claimed(outbox)

    assert (notice.tags, notice.metadata) == (("welcome", "Ünï"), {"order": "4“2"})


async def test_what_is_settled_twice_is_told_once(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        (mail_id,) = await moved(outbox)
        await outbox.settle([settlement(mail_id)])

        assert len(await claimed(outbox)) == 1


async def test_a_process_that_ended_in_mid_attempt_is_told_of(open_store: OpenStore, gone: float) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        (mail_id,) = await start(outbox)
    async with open_store() as outbox:
        await outbox.recover(gone, 60)
        (notice,) = await claimed(outbox, now=gone)

    assert (notice.type, notice.mail, notice.at) == ("mail.uncertain", mail_id, gone)


async def test_what_could_not_be_settled_is_not_told(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        ids = await start(outbox, addition(), addition())
        faulty = settlement(ids[0], recipients={"\x00": Status.REJECTED}, provider="al\x00pha")
        results = await outbox.settle([faulty, settlement(ids[1])])
        notices = await claimed(outbox)
        status = [(await outbox.get(mail_id)).status for mail_id in ids]  # type: ignore[union-attr]

    assert results[1] is True
    told = {notice.mail for notice in notices}
    assert told == {mail_id for mail_id, now in zip(ids, status, strict=True) if now is Status.SENT}


async def test_a_claim_takes_what_is_due_for_each_callback_and_nobody_takes_it_again(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        await outbox.callbacks.add(replace(SOME, events=("*",)))
        await moved(outbox, 5)
        both = await outbox.callbacks.claim({"cb_1": 3, "cb_2": 1, "cb_3": 7}, NOW + 1, 60.0)
        rest = await outbox.callbacks.claim({"cb_1": 9, "cb_2": 0}, NOW + 60, 60.0)
        lapsed = await claimed(outbox, now=NOW + 61)

    assert [each.callback for each in both].count("cb_1") == 3
    assert [each.callback for each in both].count("cb_2") == 1
    assert [each.callback for each in rest] == ["cb_1"] * 2
    assert {each.id for each in lapsed} == {each.id for each in both if each.callback == "cb_1"}


async def test_several_who_claim_at_once_share_what_there_is(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        await moved(outbox, 20)
        found = await asyncio.gather(*(claimed(outbox, room=4) for _ in range(8)))
        found.append(await claimed(outbox, room=20))

    ids = [notice.id for notices in found for notice in notices]
    assert len(ids) == len(set(ids)) == 20


async def test_a_notice_is_told_or_told_later_and_every_try_is_in_the_log(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        await moved(outbox, 2)
        good, bad = await claimed(outbox)
        await outbox.callbacks.end([ended(good), ended(bad, error="the server said 500")])
        waiting = await claimed(outbox, now=NOW + 61.5)
        (again,) = await claimed(outbox, now=NOW + 62)
        await outbox.callbacks.end([ended(again, NOW + 63, "no answer", state=State.FAILED, due_at=None)])
        never = await claimed(outbox, now=NOW + 9e9)
    async with open_store() as outbox:
        newest, oldest = await outbox.callbacks.log("cb_1", 9)

    assert waiting == never == []
    assert (again.id, again.rung, again.tries, again.due_at) == (bad.id, 1, 1, NOW + 62)
    assert oldest == Told(
        replace(good, state=State.DELIVERED, due_at=None, rung=1, tries=1), (Try(1, NOW + 2, 0.25, 200, None),)
    )
    assert (newest.notice.state, newest.notice.due_at) == (State.FAILED, None)
    assert newest.tries == (
        Try(1, NOW + 2, 0.25, 500, "the server said 500"),
        Try(2, NOW + 63, 0.25, 500, "no answer"),
    )


async def test_a_try_whose_claim_was_taken_over_changes_nothing(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        await moved(outbox)
        (slow,) = await claimed(outbox)
        (quick,) = await claimed(outbox, now=NOW + 100)
        await outbox.callbacks.end([ended(quick, NOW + 101)])
        await outbox.callbacks.end([ended(slow, NOW + 102, "no answer")])
        (told,) = await outbox.callbacks.log("cb_1", 9)

    assert told.notice.state is State.DELIVERED
    assert told.tries == (Try(1, NOW + 101, 0.25, 200, None),)


async def test_what_is_given_back_is_due_now(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        await moved(outbox, 2)
        first, second = await claimed(outbox)
        await outbox.callbacks.end([ended(second)])
        await outbox.callbacks.release([first.id, second.id, "msg_unknown"], NOW + 3)
        (back,) = await claimed(outbox, now=NOW + 3)

    assert (back.id, back.due_at, back.tries) == (first.id, NOW + 3, 0)


async def test_a_callback_that_fails_for_days_is_switched_off_and_a_success_begins_anew(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        await moved(outbox, 5)
        first, second, third, fourth, fifth = await claimed(outbox)
        store = outbox.callbacks
        off = [
            list(await store.end([ended(first, NOW + 10, "no")])),
            list(await store.end([ended(second, NOW + 10 + PATIENCE - 1, "no")])),
            list(await store.end([ended(third, NOW + PATIENCE)])),
        ]
        (mended,) = await store.all()
        at = NOW + 2 * PATIENCE
        off.append(list(await store.end([ended(fourth, at, "no")])))
        (failing,) = await store.all()
        off.append(list(await store.end([ended(fifth, at + PATIENCE, "no")])))
        (callback,) = await store.all()

    assert off == [[], [], [], [], ["cb_1"]]
    assert (mended.failing_since, mended.disabled_at) == (None, None)
    assert failing.failing_since == at
    assert (callback.disabled_at, callback.disabled_why) == (at + PATIENCE, Off.FAILING)


async def test_a_callback_that_is_gone_is_switched_off_at_once_and_once(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        await moved(outbox, 2)
        first, second = await claimed(outbox)
        off = [list(await outbox.callbacks.end([ended(each, error="gone", gone=True)])) for each in (first, second)]
        (callback,) = await outbox.callbacks.all()
        await outbox.callbacks.switch("cb_1", None)
        (mended,) = await outbox.callbacks.all()

    assert off == [["cb_1"], []]
    assert (callback.disabled_at, callback.disabled_why) == (NOW + 2, Off.GONE)
    assert mended == ALL


async def test_what_happens_while_a_callback_is_off_waits_for_it(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(replace(ALL, disabled_at=NOW, disabled_why=Off.GONE))
        await moved(outbox, 2)
        backlog = await outbox.callbacks.backlog()
        await outbox.callbacks.switch("cb_1", None)

        assert backlog["cb_1"].number == 2
        assert backlog["cb_1"].oldest_due_at <= NOW + 1
        assert len(await claimed(outbox)) == 2


async def test_a_notice_of_no_mail_can_be_told(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        await outbox.callbacks.add(SOME)
        notice_id = await outbox.callbacks.tell("cb_2", TEST, NOW)
        found = [*await claimed(outbox), *await claimed(outbox, "cb_2")]

    assert [(each.id, each.type, each.mail) for each in found] == [(notice_id, TEST, None)]


async def test_the_log_has_pages_and_can_show_one_state(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        for turn in range(3):
            await moved(outbox, 2, at=NOW + 1 + turn)
        notices = await claimed(outbox, now=NOW + 9)
        await outbox.callbacks.end([ended(each) for each in notices[::2]])
        log = outbox.callbacks.log
        whole = [told.notice.id for told in await log("cb_1", 9)]
        first = [told.notice.id for told in await log("cb_1", 4)]
        rest = [told.notice.id for told in await log("cb_1", 4, first[-1])]
        done = [told.notice.id for told in await log("cb_1", 9, None, State.DELIVERED)]
        nothing = [await log("cb_9", 9), await log("cb_1", 9, "msg_unknown"), await log("\x00", 9, "\x00")]

    assert whole == first + rest == [notice.id for notice in notices][::-1]
    assert done == [notice.id for notice in notices[::2]][::-1]
    assert [list(each) for each in nothing] == [[], [], []]


async def test_one_notice_or_those_of_a_time_are_told_again_under_the_same_id(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        for turn in range(4):
            await moved(outbox, at=NOW + 1 + turn)
        notices = await claimed(outbox, now=NOW + 9)
        failed = ended(notices[1], NOW + 9, "no", state=State.FAILED, due_at=None)
        await outbox.callbacks.end([ended(notices[0]), failed, ended(notices[2])])
        again = outbox.callbacks.replay
        counts = [
            await again("cb_1", Replay(notices[3].id), NOW + 10),  # it waits still
            await again("cb_2", Replay(notices[0].id), NOW + 10),
            await again("cb_1", Replay("\x00"), NOW + 10),
            await again("cb_1", Replay(since=NOW + 2, until=NOW + 3), NOW + 10),
            await again("cb_1", Replay(since=NOW, until=NOW + 9, state=State.FAILED), NOW + 10),
            await again("cb_1", Replay(notices[0].id), NOW + 10),
        ]
        found = await claimed(outbox, now=NOW + 10)

    assert counts == [0, 0, 0, 1, 0, 1]
    assert [(each.id, each.rung, each.tries) for each in found] == [(notices[0].id, 0, 1), (notices[1].id, 0, 1)]


async def test_many_are_told_again_once_each(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        for _ in range(12):
            await moved(outbox, 100)
        notices = await claimed(outbox, room=1200)
        await outbox.callbacks.end([ended(each) for each in notices])
        count = await outbox.callbacks.replay("cb_1", Replay(since=0, until=NOW + 2), NOW + 5)
        again = await claimed(outbox, room=2000, now=NOW + 5)

    assert count == len(again) == 1200
    assert {each.id for each in again} == {each.id for each in notices}


async def test_old_notices_are_forgotten_but_for_those_that_are_still_to_be_told(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        for _ in range(6):
            await moved(outbox, 100)
        notices = await claimed(outbox, room=600)
        await outbox.callbacks.end([ended(each) for each in notices[1:]])
        await moved(outbox, at=NOW + 9)
        steps = 1
        while await outbox.callbacks.forget(NOW + 9):
            steps += 1
        left = [told.notice.at for told in await outbox.callbacks.log("cb_1", 9)]
        await outbox.callbacks.switch("cb_1", NOW + 10)
        while await outbox.callbacks.forget(NOW + 9):
            pass
        at_last = [told.notice.at for told in await outbox.callbacks.log("cb_1", 9)]

    assert steps > 1
    assert left == [NOW + 9, NOW + 1]
    assert at_last == [NOW + 9]


async def test_who_is_erased_from_a_mail_is_erased_from_its_notices(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.callbacks.add(ALL)
        (mail_id,) = await start(outbox, addition(to=(Mailbox("ann@example.com"),), metadata={"who": "Ann"}))
        await outbox.settle(
            [settlement(mail_id, outcome=Outcome.REFUSED, status=Status.FAILED, error="no ann@example.com")]
        )
        await outbox.erase("ann@example.com", NOW + 2)
        (notice,) = await claimed(outbox)

    assert (notice.mail, notice.type, notice.error, notice.metadata) == (mail_id, "mail.failed", None, {})


def test_ids_and_secrets_are_made_at_random() -> None:
    one, two = (new_callback("https://a.example", ("*",), "", NOW) for _ in range(2))

    assert one.id != two.id
    assert one.secrets != two.secrets
    assert one.secrets[0].text.startswith("whsec_")
