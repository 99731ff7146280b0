"""Points 10 to 13 of the rule: room after a recovery, the last resort, and nobody."""

import pytest

from mailsvc.selector import Verdict
from tests.unit.selecting import attempt, benched, health, make, spare, standing

# 10. Room.


def recovered():
    """A selector whose `a` has just come back from the bench, and when."""
    selector, until = benched()
    spare(selector, until)
    for number in range(3):
        attempt(selector, "a", Verdict.OK, until + number + 0.1)
    return selector, until + 3


def fill(selector, now):
    """Start mails while `a` is picked."""
    flights = []
    while selector.pick(now) == "a" and len(flights) < 100:
        flights.append(selector.start("a", now))
    return flights


def test_room_starts_at_one_doubles_in_a_round_trip_and_is_lifted():
    selector, now = recovered()
    sizes = []
    for number in range(6):
        flights = fill(selector, now + number)
        sizes.append(len(flights))
        for flight in flights:
            selector.finish(flight, Verdict.OK, now + number + 0.2)

    assert sizes == [1, 2, 4, 8, 16, 100]


def test_room_that_is_used_up_is_not_lifted_and_grows_slowly_beyond_sixteen():
    selector, now = recovered()
    flights = fill(selector, now)
    for number in range(200):
        selector.finish(flights.pop(0), Verdict.OK, now + (number + 1) / 100)
        flights += fill(selector, now + (number + 1) / 100)

    assert 17 <= len(flights) <= 20


def test_a_failure_while_room_is_limited_makes_it_grow_slowly():
    selector, now = recovered()
    for number in range(4):
        for flight in fill(selector, now + number):
            selector.finish(flight, Verdict.OK, now + number + 0.2)
    flights = fill(selector, now + 5)
    selector.finish(flights.pop(), Verdict.SERVER_ERROR, now + 5.1)
    for flight in flights:
        selector.finish(flight, Verdict.OK, now + 5.2)

    assert 8 <= len(fill(selector, now + 6)) <= 10


def test_five_minutes_on_the_field_are_enough_to_forget_how_often_the_provider_was_benched():
    spans = []
    for quiet in (10, 310):
        selector, now = recovered()
        for number in range(40):
            attempt(selector, "a", Verdict.OK, now + number / 10)
        for number in range(4):
            attempt(selector, "a", Verdict.SERVER_ERROR, now + quiet + number / 10)
        spans.append(standing(selector, "a", now + quiet + 0.4).until - now - quiet - 0.3)

    assert spans == [pytest.approx(10, rel=0.21), pytest.approx(5, rel=0.21)]


# 11 to 13. Who is picked when nobody is well.


def test_with_everybody_benched_the_healthiest_is_asked_with_few_in_flight():
    selector = make()
    for name in ("a", "b"):
        for number in range(3 if name == "a" else 16):
            attempt(selector, name, Verdict.SERVER_ERROR, 100 + number / 10)
    now = 103.0
    picked = []
    while (name := selector.pick(now)) and len(picked) < 50:
        picked.append(name)
        selector.start(name, now)

    assert {found.state for found in selector.survey(now)} == {"benched"}
    assert picked == ["a"] * 8


def test_when_everybody_is_dead_mails_wait_but_probes_go_on():
    selector = make()
    for name in ("a", "b"):
        for number in range(20):
            attempt(selector, name, Verdict.SERVER_ERROR, 100 + number / 10)

    assert selector.pick(103) is None
    until = max(found.until for found in selector.survey(103))
    assert selector.pick(until) == "a"
    selector.start("a", until)
    assert selector.pick(until) == "b"


def test_when_nobody_else_may_be_asked_a_benched_provider_is_tried_early():
    selector, until = benched(at=100)
    for _ in range(3):
        spare(selector, until)
        attempt(selector, "a", Verdict.SERVER_ERROR, until, took=0)
        begun, until = until, standing(selector, "a", until).until
    for number in range(16):
        attempt(selector, "a", Verdict.SERVER_ERROR, begun + 1 + number / 100)

    assert until - begun > 30
    assert selector.pick(begun + 14.9, {"b"}) is None
    assert selector.pick(begun + 15, {"b"}) == "a"
    assert selector.pick(begun + 15) == "b"
    assert selector.start("a", begun + 15).probe


def test_after_an_early_probe_that_succeeded_the_next_one_may_follow_at_once():
    selector, until = benched(at=100)
    for _ in range(3):
        spare(selector, until)
        attempt(selector, "a", Verdict.SERVER_ERROR, until, took=0)
        begun, until = until, standing(selector, "a", until).until
    attempt(selector, "a", Verdict.OK, begun + 16)

    assert begun + 16 < until
    assert selector.pick(begun + 16) == "a"


def test_a_refused_key_is_never_the_last_resort():
    selector = make({"a": 50})
    attempt(selector, "a", Verdict.UNAUTHORIZED, 100)

    assert health(selector, "a", 100) > 0.2
    assert selector.pick(101) is None
