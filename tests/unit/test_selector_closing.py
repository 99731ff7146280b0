"""Points 4 and 5 of the rule: too many requests, and refusals."""

import pytest

from mailsvc.selector import Candidate, Verdict
from tests.unit.selecting import attempt, health, make, standing, state

# 4. Too many requests.


@pytest.mark.parametrize(
    ("retry_after", "closed"), [(30, 30), (0, 1), (-5, 1), (0.2, 1), (90_000, 3600), (float("inf"), 3600), (None, 30)]
)
def test_a_429_closes_the_provider_for_the_time_it_names_between_a_second_and_an_hour(retry_after, closed):
    selector = make()
    attempt(selector, "a", Verdict.RATE_LIMITED, 100, retry_after=retry_after)

    assert standing(selector, "a", 100).until == 100 + closed
    assert standing(selector, "a", 100).state == "closed"
    assert selector.pick(100 + closed - 0.001) == "b"
    assert selector.pick(100 + closed) == "a"
    assert health(selector, "a", 100) == 1


def test_a_429_without_a_time_closes_for_twice_as_long_each_time_until_a_success():
    selector, now, spans = make(), 100.0, []
    for _ in range(6):
        attempt(selector, "a", Verdict.RATE_LIMITED, now)
        until = standing(selector, "a", now).until
        spans.append(until - now)
        now = until + 0.1
    attempt(selector, "a", Verdict.OK, now + 1)
    attempt(selector, "a", Verdict.RATE_LIMITED, now + 2)

    assert spans == pytest.approx([30, 60, 120, 240, 300, 300])
    assert standing(selector, "a", now + 2).until == now + 2 + 30


def test_429s_of_mails_that_were_in_flight_together_count_once():
    selector = make()
    flights = [selector.start("a", 100) for _ in range(5)]
    for number, flight in enumerate(flights):
        selector.finish(flight, Verdict.RATE_LIMITED, 100.1 + number / 100)

    assert standing(selector, "a", 101).until == 130.1


def test_a_later_429_that_names_an_earlier_time_does_not_open_the_provider():
    selector = make()
    flights = [selector.start("a", 100) for _ in range(2)]
    selector.finish(flights[0], Verdict.RATE_LIMITED, 101, 60)
    selector.finish(flights[1], Verdict.RATE_LIMITED, 102, 5)

    assert standing(selector, "a", 103).until == 161


def test_after_a_429_the_provider_starts_again_with_one_mail_in_flight():
    selector = make()
    attempt(selector, "a", Verdict.RATE_LIMITED, 100, retry_after=10)
    flight = selector.start("a", 110)

    assert standing(selector, "a", 110.1).state == "full"
    assert standing(selector, "a", 110.1).reason == "no more than 1 mail at a time while it recovers"
    assert selector.pick(110.1) == "b"
    selector.finish(flight, Verdict.OK, 110.2)
    assert selector.pick(110.2) == "a"


def test_a_success_of_a_mail_sent_before_the_429_makes_no_room():
    selector = make()
    early = [selector.start("a", 100) for _ in range(2)]
    selector.finish(early[0], Verdict.RATE_LIMITED, 100.1, 5)
    selector.finish(early[1], Verdict.OK, 100.2)
    selector.start("a", 106)

    assert selector.pick(106) == "b"


def test_a_provider_closed_by_429_is_not_even_the_last_resort():
    selector = make({"a": 50})
    attempt(selector, "a", Verdict.RATE_LIMITED, 100, retry_after=30)

    assert selector.pick(129.9) is None


# 5. Refusals.


def test_refusals_leave_scores_and_states_untouched():
    selector = make()
    for number in range(100):
        attempt(selector, "a", Verdict.REFUSED, 100 + number / 10)
        attempt(selector, "b", Verdict.REFUSED, 100 + number / 10)

    assert selector.survey(111) == [Candidate("a", 50, "open", "", None), Candidate("b", 40, "open", "", None)]


def test_a_refusal_that_another_provider_did_not_share_is_a_failure():
    selector = make()
    for _ in range(3):
        attempt(selector, "a", Verdict.REFUSED, 100)
        attempt(selector, "b", Verdict.OK, 100)
        selector.blame("a", 100)

    assert health(selector, "a", 100) == pytest.approx(0.9**3)
    assert state(selector, "a", 100) == "benched"
