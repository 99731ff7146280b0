"""What callers do beside choosing: cancel, pause, resume, survey."""

import pytest

from mailsvc.selector import Candidate, Verdict
from tests.unit.selecting import attempt, health, make

# The caller's side.


def test_a_cancelled_attempt_is_forgotten():
    selector = make()
    attempt(selector, "a", Verdict.CANCELLED, 100, took=60)

    assert selector.survey(100)[0] == Candidate("a", 50, "open", "", None)
    assert selector.snapshot(100)[0].in_flight == 0


def test_a_second_verdict_for_the_same_flight_changes_nothing():
    selector = make()
    flight = attempt(selector, "a", Verdict.SERVER_ERROR, 100)
    selector.finish(flight, Verdict.SERVER_ERROR, 101)

    assert health(selector, "a", 101) == 0.9


def test_a_paused_provider_is_not_asked_until_it_is_resumed():
    selector = make()
    selector.pause("a")

    assert selector.pick(0) == "b"
    assert selector.pick(0, {"b"}) is None
    assert selector.survey(0)[0] == Candidate("a", 50, "paused", "paused by hand", None)
    selector.resume("a")
    assert selector.pick(0) == "a"


def test_resuming_a_benched_provider_tries_it_with_the_next_mail():
    selector = make()
    attempt(selector, "a", Verdict.UNAUTHORIZED, 100)
    selector.resume("a")

    assert selector.pick(101) == "a"
    assert selector.start("a", 101).probe


def test_excluded_providers_are_marked_in_the_survey():
    assert make().survey(0, {"a"})[0].state == "tried"
    assert make().survey(0, {"a"})[1].state == "open"


@pytest.mark.parametrize("call", [lambda s: s.start("x", 0), lambda s: s.blame("x", 0), lambda s: s.pause("x")])
def test_an_unknown_provider_is_an_error(call):
    with pytest.raises(KeyError):
        call(make())
