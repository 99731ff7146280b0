"""Any history of answers, kills, clocks and hands keeps the promises: outbox, selector and courier together."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mailsvc.choice import KEY_SHARE
from mailsvc.decision import Decision, decided
from mailsvc.model import Message, OnUncertain, Outcome, Record, Resolution, Status
from mailsvc.outbox import open_outbox
from mailsvc.providers.base import Result
from tests.unit.world import DAY, World

NAMES, KEYED = ("first", "second", "third"), "first"
PICK = st.integers(0, 4)  # small numbers, so that one mail is met again and again


class Killed(BaseException):
    """kill -9: nothing of the process goes on."""


@dataclass(frozen=True)
class Answer:
    """What a provider does with a request: whether it takes the mail, and what is heard of it; None: a kill."""

    takes: bool
    heard: Outcome | None


ANSWERS = (
    *(Answer(True, Outcome.ACCEPTED), Answer(True, Outcome.ACCEPTED), Answer(True, Outcome.UNANSWERED)),
    *(Answer(False, Outcome.UNANSWERED), Answer(True, None), Answer(False, None), Answer(False, Outcome.DOWN)),
    *(Answer(False, Outcome.REFUSED), Answer(False, Outcome.RECIPIENT_REFUSED), Answer(False, Outcome.RATE_LIMITED)),
    *(Answer(False, Outcome.UNAUTHORIZED), Answer(False, Outcome.SENDER_REFUSED), Answer(False, Outcome.QUOTA)),
)
SILENT = (Answer(True, Outcome.UNANSWERED), Answer(False, Outcome.UNANSWERED))
NO = (Answer(False, Outcome.REFUSED), Answer(False, Outcome.RECIPIENT_REFUSED))
WELL = Answer(True, Outcome.ACCEPTED)


@dataclass
class Posted:
    """A mail as it was posted, and what a person has decided about it."""

    id: str
    policy: OnUncertain
    by_hand: list[Decision] = field(default_factory=list)


class Life(RuleBasedStateMachine):
    """One outbox, process after process; three providers, of which one knows repeated requests for a day."""

    folder: Path

    @initialize()
    def begin_life(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.path = Path(tempfile.mkdtemp(dir=self.folder)) / "mail.db"
        self.posted: list[Posted] = []
        self.taken: Counter[tuple[str, str]] = Counter()  # (mail, provider): hand-overs that are mails of their own
        self.keys: dict[str, tuple[bytes, float]] = {}  # what the keyed provider took, and when
        self.plan: list[Answer] = []
        self.wrong: list[str] = []
        self.here = self.run(self.born())
        self.add(OnUncertain.RESEND)
        self.add(OnUncertain.HOLD)

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    async def born(self) -> World:
        """A process begins, on what is in the file."""
        here = World(await open_outbox(f"sqlite:///{self.path}"), self.answer, NAMES, (KEYED,))
        if hasattr(self, "here"):
            here.wall, here.monotonic = self.here.wall, self.here.monotonic
        await here.outbox.recover(here.wall, here.config.uncertain_after)
        return here

    async def answer(self, name: str, message: Message) -> Result:
        """A provider is asked. What is wrong is kept: the courier would take an exception for the provider's fault."""
        try:
            return await self.checked_answer(name, message)
        except AssertionError as error:
            self.wrong.append(repr(error))
            raise

    async def checked_answer(self, name: str, message: Message) -> Result:
        """What must be true by then, and what the provider does."""
        record, request = await self.here.record(message.id), self.here.requests[-1]
        self.check_request(name, record)
        answer = self.plan.pop(0) if self.plan else WELL
        known = self.keys.get(request.key or "")
        if known and self.here.wall < known[1] + DAY:
            assert known[0] == request.body  # to the byte, or it is another mail
            answer = Answer(False, Outcome.ACCEPTED if answer.heard not in (None, Outcome.UNANSWERED) else answer.heard)
        elif answer.takes:
            assert self.handed_over(message.id) <= doubts(record)
            self.taken[message.id, name] += 1
            if request.key:
                self.keys[request.key] = (request.body, self.here.wall)
        if answer.heard is None:
            raise Killed
        return Result(answer.heard, "as planned")

    def check_request(self, name: str, record: Record) -> None:
        """It is written down, due, and nobody else's turn."""
        running = record.attempts[-1]
        assert (running.provider, running.outcome, record.status) == (name, None, Status.SENDING)
        assert record.due_at is not None
        assert record.due_at <= self.here.wall
        open_doubts = [each for each in record.attempts if is_doubt(each.outcome) and each.resolved is None]
        bound = [each for each in open_doubts if each.provider == KEYED]
        fresh = bound and self.here.wall < bound[0].started_at + KEY_SHARE * DAY
        assert name == KEYED or not fresh or self.mail(record.id).by_hand

    def handed_over(self, mail_id: str) -> int:
        return sum(self.taken[mail_id, name] for name in NAMES)

    def mail(self, mail_id: str) -> Posted:
        return next(mail for mail in self.posted if mail.id == mail_id)

    # What may happen.

    @rule(policy=st.sampled_from(OnUncertain))
    def add(self, policy: OnUncertain) -> None:
        self.posted.append(Posted(self.run(self.here.add(policy)), policy))

    @rule(plan=st.lists(st.sampled_from(ANSWERS), max_size=8))
    def drain(self, plan: list[Answer]) -> None:
        self.plan = plan
        try:
            self.run(self.here.go(self.posted[0].id))
        except Killed:
            self.restart()

    @rule(plan=st.lists(st.sampled_from(SILENT), min_size=1, max_size=4))
    def drain_in_silence(self, plan: list[Answer]) -> None:
        self.drain(plan)

    @rule(plan=st.lists(st.sampled_from(NO), min_size=1, max_size=6))
    def drain_with_refusals(self, plan: list[Answer]) -> None:
        self.drain(plan)

    @rule(layout=st.sampled_from(["plain", "other"]))
    def change_the_configuration(self, layout: str) -> None:
        for provider in self.here.providers.values():
            provider.layout = layout

    @rule(seconds=st.sampled_from([1.0, 6.0, 70.0, 400.0, 4000.0, 0.9 * DAY, 1.1 * DAY]))
    def wait(self, seconds: float) -> None:
        self.here.pass_time(seconds)

    @rule(number=PICK, decision=st.sampled_from(Decision))
    def decide(self, number: int, decision: Decision) -> None:
        mail = self.posted[number % len(self.posted)]
        record = self.run(self.here.record(mail.id))
        if record.status is Status.UNCERTAIN:
            assert self.run(self.here.outbox.settle([decided(record, decision, self.here.wall)])) == [True]
            mail.by_hand.append(decision)

    @rule(name=st.sampled_from(NAMES), resumed=st.booleans())
    def pause(self, name: str, resumed: bool) -> None:
        self.here.selector.resume(name) if resumed else self.here.selector.pause(name)

    @rule()
    def restart(self) -> None:
        self.run(self.here.outbox.close())
        self.here = self.run(self.born())

    # What must be true at any time.

    @invariant()
    def every_promise_is_kept(self) -> None:
        assert self.wrong == []
        for mail in self.posted:
            record = self.run(self.here.record(mail.id))
            given = self.handed_over(mail.id)
            assert given - 1 <= doubts(record), record  # nothing is doubled in silence
            if record.status is Status.SENT:
                assert given or Decision.SENT in mail.by_hand, record  # the status is true
            if record.status in (Status.QUEUED, Status.FAILED) and given:
                assert doubts(record), record  # a mail that somebody has is not sent again, or given up, in silence
            if record.status is Status.FAILED and Decision.FAILED not in mail.by_hand:
                assert all(one.resolved is Resolution.SAME_KEY for one in record.attempts if is_doubt(one.outcome))
            if mail.policy is OnUncertain.HOLD and Decision.RESEND not in mail.by_hand:
                assert given <= 1, record
            assert record.due_at is not None or record.status not in (Status.QUEUED, Status.SCHEDULED), record
        counts = self.run(self.here.outbox.counts())
        assert sum(counts.values()) == len(self.posted)  # nothing is lost

    def teardown(self) -> None:
        """When the faults are over, everything is settled that can be."""
        self.restart()
        self.plan = []
        for name in NAMES:
            self.here.selector.resume(name)
        for _ in range(30):
            self.here.pass_time(4000.0)
            self.run(self.here.go(self.posted[0].id))
        for mail in self.posted:
            record = self.run(self.here.record(mail.id))
            waits = record.status is Status.UNCERTAIN and (mail.policy is OnUncertain.HOLD or record.due_at is None)
            assert record.status.settled, record
            assert record.status is not Status.UNCERTAIN or waits, record
        self.every_promise_is_kept()
        self.run(self.here.outbox.close())
        self.loop.close()


def is_doubt(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.maybe_sent


def doubts(record: Record) -> int:
    """How many attempts of a mail are on record as doubtful."""
    return sum(is_doubt(attempt.outcome) for attempt in record.attempts)


def test_any_history_keeps_every_promise(tmp_path: Path) -> None:
    life = type("LifeHere", (Life,), {"folder": tmp_path})

    calm = settings(
        max_examples=100,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a failure is told at once: shrinking takes minutes
    )
    run_state_machine_as_test(life, settings=calm)
