"""What the providers of a rehearsal answer, as their knobs stand."""

from __future__ import annotations

import asyncio
import random

import pytest

from mailsvc.address import Mailbox
from mailsvc.config import Config
from mailsvc.errors import ConfigError, QueueFull, Unanswered
from mailsvc.model import Message, Outcome
from mailsvc.outcome import verdict
from mailsvc.providers.base import Settings
from mailsvc.rehearsal import ACTORS, MAX_MAILS, Knobs, Rehearsal, prepared
from mailsvc.selector import Verdict
from mailsvc.submission import Submission
from mailsvc.wire import Response

MESSAGE = Message("01", Mailbox("a@example.com"), (Mailbox("b@example.com"),), "Hi", None, "hello")


def rehearsal(timeout: float = 30.0, **knobs: float | bool) -> Rehearsal:
    found = Rehearsal(timeout=timeout, rng=random.Random(7))
    found.knobs = dict.fromkeys(ACTORS, Knobs(latency=1)) | {"alpha": Knobs(**({"latency": 1} | knobs))}  # type: ignore[arg-type]
    return found


async def ask(stage: Rehearsal, name: str = "alpha") -> tuple[Outcome, Verdict, float | None]:
    """One mail: its outcome, and what the selector is told."""
    provider = ACTORS[name](Settings({}))
    result = provider.read(await stage.fetch(provider.request(MESSAGE)), MESSAGE)
    return (result.outcome, *verdict(result))


async def test_a_provider_that_is_well_keeps_the_mail() -> None:
    assert await ask(rehearsal()) == (Outcome.ACCEPTED, Verdict.OK, None)


async def test_one_that_fails_is_down() -> None:
    assert await ask(rehearsal(failing=100)) == (Outcome.DOWN, Verdict.SERVER_ERROR, None)


async def test_it_fails_as_often_as_it_is_told() -> None:
    stage = rehearsal(failing=30, latency=0)
    found = [(await ask(stage))[0] for _ in range(500)]

    assert 110 <= found.count(Outcome.DOWN) <= 190


@pytest.mark.parametrize("knobs", [{"hang": True}, {"latency": 500}])
async def test_one_that_hangs_or_takes_too_long_gives_no_answer(knobs: dict[str, float]) -> None:
    with pytest.raises(Unanswered, match=r"no answer within 0\.03 s"):
        await ask(rehearsal(0.03, **knobs))


async def test_one_with_a_limit_says_when_it_takes_mails_again() -> None:
    stage = rehearsal(limit=2)
    found = [await ask(stage) for _ in range(3)]
    other = await ask(stage, "beta")

    assert [outcome for outcome, _, _ in found] == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.RATE_LIMITED]
    assert found[2][1:] == (Verdict.RATE_LIMITED, 10.0)
    assert other[0] is Outcome.ACCEPTED


def test_a_real_provider_forbids_a_rehearsal_and_capture_allows_it() -> None:
    live = {"SENDGRID_API_KEY": "x", "MAILSVC_FROM": "a@example.com"}
    with pytest.raises(ConfigError, match="sendgrid"):
        prepared(Config.from_environ(live))
    config = prepared(Config.from_environ(live | {"MAILSVC_CAPTURE": "1", "MAILSVC_TIMEOUT": "2"}))

    assert {name: settings.score for name, settings in config.providers.items()} == {
        "alpha": 50.0,
        "beta": 40.0,
        "gamma": 30.0,
    }
    assert (config.live, config.rehearsal, config.timeout, config.uncertain_after) == (False, True, 2.0, 10.0)


async def test_a_stream_sends_what_it_says_and_can_be_stopped() -> None:
    stage, taken = rehearsal(), []

    async def accept(submission: Submission) -> None:
        taken.append(submission.subject)

    await stage.play(accept, rate=1000, total=5)
    while stage.stream and stage.stream.running:
        await asyncio.sleep(0)
    whole = stage.stream
    await stage.play(accept, rate=1, total=10**9)
    while len(taken) < 6:
        await asyncio.sleep(0)
    await stage.stop()

    assert whole
    assert (whole.sent, whole.total, whole.error) == (5, 5, None)
    assert len(set(taken[:5])) == 5
    assert stage.stream
    assert (stage.stream.sent, stage.stream.total, stage.stream.running) == (1, MAX_MAILS, False)


async def test_a_stream_ends_with_the_reason_when_no_mail_is_taken() -> None:
    stage = rehearsal()

    async def refuse(_: Submission) -> None:
        raise QueueFull("full up")

    await stage.play(refuse, rate=1000, total=5)
    while stage.stream and stage.stream.running:
        await asyncio.sleep(0)

    assert stage.stream
    assert (stage.stream.sent, stage.stream.error) == (0, "full up")


async def test_the_answer_is_an_http_answer_like_any_other() -> None:
    provider = ACTORS["gamma"](Settings({}))
    answer = await rehearsal().fetch(provider.request(MESSAGE))

    assert isinstance(answer, Response)
    assert (provider.name, answer.status) == ("gamma", 200)
