"""Any history of calls leaves every outbox where a model of forty lines is left."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mailsvc.model import OnUncertain, Outcome, Status
from mailsvc.outbox.base import Outbox
from tests.contract.samples import NOW, OpenStore, addition, beginning, settlement, shown, store

PICK = st.integers(0, 7)  # small numbers, so that one mail is met again and again
WAITING = (Status.SCHEDULED, Status.QUEUED, Status.UNCERTAIN)


@dataclass
class Standing:
    """What the model knows of a mail: when a claim may take it, when its owner was last heard of."""

    id: str
    status: Status
    due: float | None
    claimable: float | None
    hold: bool
    rounds: int = 0
    attempts: int = 0
    running: bool = False
    doubted: bool = False
    seen: float = 0.0

    @property
    def idle(self) -> bool:
        return self.status in WAITING or (self.status is Status.SENDING and not self.running)


class History(RuleBasedStateMachine):
    """Calls at random; the clock only goes on. A small number of mails, so that calls meet each other."""

    open_store: OpenStore

    @initialize()
    def begin_history(self) -> None:
        self.loop, self.stack = asyncio.new_event_loop(), AsyncExitStack()
        self.now, self.model = NOW, list[Standing]()
        self.outbox: Outbox = self.run(self.stack.enter_async_context(self.open_store()))
        self.before = self.run(self.outbox.counts())
        self.add([0.0, 0.0, 5.0], hold=False)
        self.add([0.0], hold=True)

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def picked(self, number: int) -> Standing:
        return self.model[number % len(self.model)]

    @rule(delays=st.lists(st.sampled_from([0.0, 0.0, 5.0]), min_size=1, max_size=3), hold=st.booleans())
    def add(self, delays: list[float], hold: bool) -> None:
        policy = OnUncertain.HOLD if hold else OnUncertain.RESEND
        rows = [addition(self.now + delay, created_at=self.now, on_uncertain=policy) for delay in delays]
        ids = self.run(store(self.outbox, *rows))
        for mail_id, row in zip(ids, rows, strict=True):
            status = Status.SCHEDULED if row.due_at > self.now else Status.QUEUED
            self.model.append(Standing(mail_id, status, row.due_at, row.due_at, hold))

    @rule(room=st.integers(1, 4), lease=st.sampled_from([1.0, 1000.0]))
    def claim(self, room: int, lease: float) -> None:
        due = [mail for mail in self.model if mail.claimable is not None and mail.claimable <= self.now]
        expected = sorted(due, key=lambda mail: mail.claimable or 0.0)[:room]
        claimed = self.run(self.outbox.claim(room, self.now, lease))

        assert [(mail.id, mail.rounds, mail.attempts, bool(mail.doubted)) for mail in claimed] == [
            (mail.id, mail.rounds, mail.attempts, mail.doubted) for mail in expected
        ]
        for mail in expected:
            mail.claimable = self.now + lease
            mail.status = Status.QUEUED if mail.status is Status.SCHEDULED else mail.status

    @rule(number=PICK, ahead=st.sampled_from([0, 1, 1, 1, 2]))
    def begin(self, number: int, ahead: int) -> None:
        mail = self.picked(number)
        (refusal,) = self.run(self.outbox.begin([beginning(mail.id, mail.attempts + ahead, at=self.now)]))

        assert (refusal is None) == (ahead == 1 and mail.idle)
        if refusal is None:
            mail.status, mail.claimable, mail.attempts, mail.running = Status.SENDING, None, mail.attempts + 1, True
            mail.seen = self.now

    @rule(
        number=PICK,
        to=st.sampled_from([Status.SENT, Status.SENDING, Status.UNCERTAIN, Status.QUEUED]),
        delay=st.sampled_from([None, 0.0, 5.0]),
    )
    def settle(self, number: int, to: Status, delay: float | None) -> None:
        mail = self.picked(number)
        if not mail.attempts:
            return
        outcome = Outcome.UNANSWERED if to is Status.UNCERTAIN else Outcome.DOWN
        due = None if delay is None or to is Status.SENT else self.now + delay
        ended = {"outcome": outcome, "status": to, "due_at": due, "rounds": mail.rounds + 1, "ended_at": self.now}
        row = settlement(mail.id, mail.attempts, **ended)

        assert self.run(self.outbox.settle([row, row])) == [mail.running, False]
        if mail.running:
            mail.doubted = mail.doubted or outcome is Outcome.UNANSWERED
            self.stand(mail, to, due)

    @rule(number=PICK, to=st.sampled_from([Status.FAILED, Status.QUEUED, Status.UNCERTAIN]))
    def end_round(self, number: int, to: Status) -> None:
        mail = self.picked(number)
        due = None if to is Status.FAILED else self.now + 5
        row = settlement(mail.id, 0, status=to, due_at=due, rounds=mail.rounds + 1)

        assert self.run(self.outbox.settle([row, row])) == [mail.idle, False]
        if mail.idle:
            self.stand(mail, to, due)

    def stand(self, mail: Standing, status: Status, due: float | None) -> None:
        mail.status, mail.running, mail.rounds, mail.seen = status, False, mail.rounds + 1, self.now
        if status is not Status.SENDING:
            mail.due = mail.claimable = due

    @rule(numbers=st.lists(PICK, max_size=3), delay=st.sampled_from([0.0, 5.0]))
    def release(self, numbers: list[int], delay: float) -> None:
        mails = [self.picked(number) for number in numbers]
        self.run(self.outbox.release([mail.id for mail in mails], self.now + delay))
        for mail in mails:
            if mail.status in WAITING and mail.claimable is not None:
                mail.due = mail.claimable = self.now + delay

    @rule(reopen=st.booleans())
    def recover(self, reopen: bool) -> None:
        if reopen:
            self.run(self.stack.aclose())
            self.outbox = self.run(self.stack.enter_async_context(self.open_store()))
        last = self.now - self.outbox.lease if self.outbox.shared else self.now
        left = [mail for mail in self.model if mail.status is Status.SENDING and mail.seen <= last]
        running = [mail for mail in left if mail.running]

        assert sorted(self.run(self.outbox.recover(self.now, 60))) == sorted(mail.id for mail in running)
        for mail in left:
            if mail.running:
                mail.running, mail.doubted, mail.status = False, True, Status.UNCERTAIN
                mail.due = mail.claimable = None if mail.hold else self.now + 60
            else:
                mail.status, mail.claimable = Status.QUEUED, mail.due
        for mail in self.model:
            if not self.outbox.shared and mail.claimable is not None and mail.claimable > self.now:
                mail.claimable = mail.due

    @rule(numbers=st.lists(PICK, max_size=3))
    def renew(self, numbers: list[int]) -> None:
        mails = [self.picked(number) for number in numbers]
        self.run(self.outbox.renew([mail.id for mail in mails], self.now))
        for mail in mails:
            if self.outbox.shared and mail.status is Status.SENDING:
                mail.seen = self.now
            elif self.outbox.shared and mail.claimable is not None and mail.due <= self.now < mail.claimable:
                mail.claimable = self.now + self.outbox.lease

    @rule(seconds=st.sampled_from([0.5, 5.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        for mail in self.model:
            record = self.run(shown(self.outbox, mail.id))
            assert (record.status, record.due_at, len(record.attempts)) == (mail.status, mail.due, mail.attempts)
            assert [attempt.outcome is None for attempt in record.attempts[-1:]] == [mail.running][: mail.attempts]
        counts = self.run(self.outbox.counts())
        grown = {status: counts[status] - self.before[status] for status in Status}
        assert grown == {status: sum(mail.status is status for mail in self.model) for status in Status}

    def teardown(self) -> None:
        self.run(self.run_down())
        self.loop.close()

    async def run_down(self) -> None:
        """Leave nothing that the next history on the same store could claim."""
        for mail in self.model:
            if mail.running:
                await self.outbox.settle([settlement(mail.id, mail.attempts)])
            await self.outbox.settle([settlement(mail.id, 0, status=Status.FAILED)])
        await self.stack.aclose()


def test_any_history_leaves_the_outbox_where_the_model_is(open_store: OpenStore, database: str) -> None:
    history = type("HistoryOf", (History,), {"open_store": staticmethod(open_store)})
    number = 50 if database == "sqlite" else 15  # a trip to a server takes longer

    calm = settings(max_examples=number, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(history, settings=calm)
