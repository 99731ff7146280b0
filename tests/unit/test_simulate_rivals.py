import random
from collections import Counter

from mailsvc.selector import Verdict
from mailsvc.simulate.rivals import Breaker, Failover, PeakEwma, RandomPick, RoundRobin

BASES = {"B": 40.0, "A": 50.0}


def make(kind):
    return kind(BASES, random.Random(1))


def attempt(rival, name, verdict, now, took=0.1):
    rival.finish(rival.start(name, now - took), verdict, now)


def test_random_picks_evenly_among_those_that_are_left():
    rival = make(RandomPick)
    picks = Counter(rival.pick(0) for _ in range(1000))

    assert 430 < picks["A"] < 570
    assert rival.pick(0, {"A"}) == "B"
    assert rival.pick(0, {"A", "B"}) is None


def test_round_robin_goes_on_from_whom_it_asked_last():
    rival = make(RoundRobin)
    picks = []
    for now in range(4):
        picks.append(rival.pick(now))
        rival.start(picks[-1], now)

    assert picks == ["A", "B", "A", "B"]
    assert rival.pick(5, {"A"}) == "B"


def test_failover_stays_with_the_next_one_even_when_the_first_is_well_again():
    rival = make(Failover)
    assert rival.pick(0) == "A"

    attempt(rival, "A", Verdict.REFUSED, 1)
    assert rival.pick(1) == "B"
    attempt(rival, "B", Verdict.OK, 2)
    assert rival.pick(1000) == "B"
    attempt(rival, "B", Verdict.SERVER_ERROR, 1000)
    assert rival.pick(1000) == "A"


def test_failover_asks_nobody_while_all_are_dead():
    rival = make(Failover)
    attempt(rival, "A", Verdict.SERVER_ERROR, 100)
    attempt(rival, "B", Verdict.SERVER_ERROR, 100)

    assert rival.pick(160) is None
    assert rival.pick(160.1) == "A"


def test_a_breaker_opens_at_half_of_a_hundred_calls_and_not_before():
    rival = make(Breaker)
    for number in range(99):
        attempt(rival, "A", Verdict.OK if number < 50 else Verdict.SERVER_ERROR, number)
    assert rival.pick(99) == "A"

    attempt(rival, "A", Verdict.SERVER_ERROR, 99)

    assert rival.pick(99) == "B"
    assert rival.pick(158.9) == "B"
    assert rival.pick(159) == "A"


def opened():
    rival = make(Breaker)
    for number in range(100):
        attempt(rival, "A", Verdict.SERVER_ERROR, number)
    return rival


def test_a_half_open_breaker_lets_ten_calls_through_and_closes_when_fewer_than_half_fail():
    rival = opened()
    flights = []
    while rival.pick(200) == "A":
        flights.append(rival.start("A", 200))

    assert len(flights) == 10
    for number, flight in enumerate(flights):
        rival.finish(flight, Verdict.OK if number < 6 else Verdict.SERVER_ERROR, 201)
    assert rival.pick(201) == "A"
    attempt(rival, "A", Verdict.SERVER_ERROR, 202)
    assert rival.pick(202) == "A"


def test_a_half_open_breaker_opens_again_when_half_of_its_trials_fail():
    rival = opened()
    flights = [rival.start("A", 200) for _ in range(10)]
    for number, flight in enumerate(flights):
        rival.finish(flight, Verdict.OK if number < 5 else Verdict.UNANSWERED, 201)

    assert rival.pick(260) == "B"
    assert rival.pick(261) == "A"


def test_peak_ewma_prefers_the_faster_one_and_what_is_in_flight_counts():
    rival = make(PeakEwma)
    for now in range(10):
        attempt(rival, "A", Verdict.OK, now, took=0.4)
        attempt(rival, "B", Verdict.OK, now, took=0.1)
    assert rival.pick(10) == "B"

    for _ in range(5):
        rival.start("B", 10)
    assert rival.pick(10) == "A"


def test_peak_ewma_believes_bad_news_at_once_and_good_news_slowly():
    rival = make(PeakEwma)
    for now in range(10):
        attempt(rival, "A", Verdict.OK, now, took=0.1)
        attempt(rival, "B", Verdict.OK, now, took=0.3)
    attempt(rival, "A", Verdict.OK, 10, took=1.0)
    assert rival.pick(10) == "B"

    attempt(rival, "A", Verdict.OK, 11, took=0.1)
    assert rival.pick(11) == "B"


def test_to_peak_ewma_a_failure_is_very_slow():
    rival = make(PeakEwma)
    for now in range(10):
        attempt(rival, "A", Verdict.OK, now, took=0.1)
        attempt(rival, "B", Verdict.OK, now, took=1.5)
    attempt(rival, "A", Verdict.SERVER_ERROR, 10)

    assert rival.pick(10) == "B"
