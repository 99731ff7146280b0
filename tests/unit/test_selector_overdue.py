"""Point 2 of the rule: answers that are late."""

import pytest

from mailsvc.selector import Verdict
from tests.unit.selecting import attempt, make, score, standing, state

# 2. Overdue answers.


def test_an_answer_overdue_counts_as_a_failure_until_it_is_resolved():
    selector = make()
    flights = [selector.start("a", 100) for _ in range(3)]

    assert score(selector, "a", 101) == 50
    assert score(selector, "a", 101.01) == pytest.approx(50 * 0.9**3)
    assert selector.pick(101.01) == "b"
    for flight in flights:
        selector.finish(flight, Verdict.OK, 101.5)
    assert score(selector, "a", 101.5) == 50


@pytest.mark.parametrize(
    ("usual", "late"), [([0.02], 0.25), ([0.1], 0.5), ([0.4], 1.0), ([1.5], 1.5), ([2, 3], 5.2)], ids=str
)
def test_what_is_late_follows_the_times_the_provider_usually_takes(usual, late):
    selector = make()
    for number in range(200):
        attempt(selector, "a", Verdict.OK, 10 + number, took=usual[number % len(usual)])
    selector.start("a", 1000)

    assert selector.snapshot(1000 + 0.98 * late)[0].overdue == 0
    assert selector.snapshot(1000 + 1.1 * late)[0].overdue == 1


def test_late_answers_count_when_more_than_a_fifth_of_those_in_flight_is_late():
    selector = make()
    for number in range(19):
        selector.start("a", 100 if number < 4 else 102)

    assert score(selector, "a", 102) == pytest.approx(50 * 0.9**4)
    selector.start("a", 102)
    assert score(selector, "a", 102) == 50


def test_a_provider_that_has_fallen_silent_gets_no_more_mails_until_answers_come():
    selector = make({"a": 50})
    flights = [selector.start("a", 100) for _ in range(15)]
    assert selector.pick(102) == "a"
    flights.append(selector.start("a", 100))

    assert selector.pick(102) is None
    assert state(selector, "a", 102) == "full"
    assert standing(selector, "a", 102).reason == "16 answers overdue; gets no more mails until some have come"
    selector.finish(flights[0], Verdict.OK, 103)
    assert selector.pick(103) == "a"


def test_the_overdue_count_stops_at_22():
    selector = make()
    for _ in range(500):
        selector.start("a", 0)

    assert selector.snapshot(100)[0].overdue == 22
    assert selector.snapshot(100)[0].in_flight == 500


def test_overdue_answers_are_told_in_words():
    selector = make()
    selector.start("a", 0)

    assert standing(selector, "a", 5).reason == "1 answer overdue"
    assert standing(selector, "b", 5).reason == ""
