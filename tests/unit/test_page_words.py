"""What the page says: the story of a mail, the chart's history, the requests to copy, what is missing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from mailsvc.config import Config
from mailsvc.errors import FieldFault, InvalidMail
from mailsvc.history import EVERY, SPAN, History
from mailsvc.model import Attempt, Outcome, Record, Resolution, Status
from mailsvc.web.form import form
from mailsvc.web.health import gaps
from mailsvc.web.story import _OUTCOMES, _PASSED_OVER, _RESOLUTIONS, STATUSES, steps, why


def row(provider: str, score: float, state: str = "open", reason: str = "") -> dict[str, Any]:
    return {"provider": provider, "score": score, "state": state, "reason": reason}


def attempt(provider: str, score: float, *others: dict[str, Any], n: int = 1, **changes: Any) -> Attempt:
    considered = [row(provider, score, "chosen"), *others]
    values: dict[str, Any] = {
        "n": n,
        "provider": provider,
        "outcome": Outcome.ACCEPTED,
        "http_status": 200,
        "detail": None,
        "started_at": 100.0,
        "ended_at": 100.25,
        "score": score,
        "considered": considered,
    }
    return Attempt(**(values | changes))


def record(*attempts: Attempt) -> Record:
    return Record("id", Status.SENT, "a@b", "Hi", (), 1.0, 2.0, None, None, None, None, attempts=attempts)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (attempt("a", 50), "a is the only provider."),
        (attempt("a", 50, row("b", 40)), "a had the best score."),
        (attempt("a", 40, row("b", 40)), "a had the best score."),
        (
            attempt("b", 40, row("a", 50, "tried"), row("c", 30)),
            "b had the best score of those that could be asked; a had been tried.",
        ),
        (
            attempt("c", 30, row("a", 50, "closed"), row("b", 40, "paused")),
            "c had the best score of those that could be asked; a was closed and b was paused.",
        ),
        (
            attempt("a", 20, row("b", 40)),
            "It was time to try a: now and then one mail shows whether it is well again.",
        ),
    ],
)
def test_why_a_provider_was_asked(asked: Attempt, words: str) -> None:
    assert why(asked) == words


def test_a_step_tells_how_long_it_took_and_what_it_cost_the_provider() -> None:
    first = attempt("a", 50, row("b", 40), outcome=Outcome.DOWN)
    second = attempt("b", 40, row("a", 45, "tried"), n=2, ended_at=None, outcome=None)
    told = steps(record(first, second))

    assert [(step.words, step.tone, step.took, step.after) for step in told] == [
        ("was down", "bad", 250, 45.0),
        ("is being asked", "busy", None, None),
    ]


def test_there_are_words_for_every_status_outcome_and_state() -> None:
    states = {"tried", "benched", "closed", "paused", "full", "sender_refused", "cannot"}

    assert set(STATUSES) == set(Status)
    assert set(_OUTCOMES) == set(Outcome)
    assert set(_PASSED_OVER) == states
    assert set(_RESOLUTIONS) == set(Resolution)


def test_the_history_keeps_a_quarter_of_an_hour() -> None:
    history = History()
    for second in range(2000):
        history.note(1000.0 + second, {"a": float(second)})
    times, scores = history.series()

    assert times[-1] - times[0] == SPAN
    assert {later - earlier for earlier, later in pairwise(times)} == {EVERY}
    assert scores["a"][-1] == times[-1] - 1000.0


def test_the_history_goes_on_when_the_clock_is_set_back_and_knows_who_was_not_there() -> None:
    history = History()
    history.note(5000.0, {"a": 1.0})
    history.note(1000.0, {"a": 2.0, "b": 3.0})

    assert history.series() == ([5000.0, 1000.0], {"a": [1.0, 2.0], "b": [None, 3.0]})


def test_faults_go_beside_their_fields_and_all_others_above() -> None:
    faults = [
        FieldFault("to[1]", "x", "is bad"),
        FieldFault("to", "x", "is worse"),
        FieldFault("from", "x", "is refused"),
    ]
    shown = form({"to": ["a", "b"], "subject": "s", "content": 5}, InvalidMail(faults))

    assert shown.values == {"to": "a", "to_name": "", "subject": "s", "content": ""}
    assert shown.beside == {"to": "is bad"}
    assert (shown.above, shown.first) == (["from is refused"], "to")


def missing(**environ: str) -> list[str]:
    return [what for what, _ in gaps(Config.from_environ(environ))]


LIVE = {"SENDGRID_API_KEY": "x", "MAILSVC_FROM": "a@example.com"}
KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, ["No provider.", "No API key.", "No sender."]),
        ({"MAILSVC_CAPTURE": "1", **LIVE}, ["Capture only.", "No API key."]),
        (LIVE, ["One provider.", "No API key."]),
        (LIVE | {"MANDRILL_API_KEY": "y", "MAILSVC_API_KEY": KEY}, []),
        (LIVE | {"MANDRILL_API_KEY": "y", "MAILSVC_API_KEY": KEY, "HOST": "0.0.0.0"}, ["No public URL."]),
        (LIVE | {"MANDRILL_API_KEY": "y", "MAILSVC_API_KEY": "short"}, ["Check a setting."]),
        (LIVE | {"MANDRILL_API_KEY": "y", "MAILSVC_API_KEY": KEY, "MAILSVC_X": "1"}, ["Check a setting."]),
    ],
)
def test_what_production_would_want_is_named(environ: dict[str, str], found: list[str]) -> None:
    assert missing(**environ) == found
