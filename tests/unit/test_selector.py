import random

import pytest

from mailsvc.selector import Candidate, Selector, Verdict

BASES = {"a": 50.0, "b": 40.0}
FAILURES = [Verdict.SERVER_ERROR, Verdict.UNREACHABLE, Verdict.UNANSWERED, Verdict.UNAUTHORIZED]


def make(bases=BASES, exact=False):
    return Selector(bases, rng=random.Random(7), exact=exact)


def attempt(selector, name, verdict, at, took=0.1, retry_after=None):
    """One attempt that ends at `at`."""
    flight = selector.start(name, at - took)
    selector.finish(flight, verdict, at, retry_after)
    return flight


def standing(selector, name, now) -> Candidate:
    return next(candidate for candidate in selector.survey(now) if candidate.name == name)


def score(selector, name, now):
    return standing(selector, name, now).score


def state(selector, name, now):
    return standing(selector, name, now).state


def health(selector, name, now):
    return next(found.health for found in selector.snapshot(now) if found.name == name)


def benched(at=10.0):
    """A selector whose `a` has just been benched by three server errors, and the end of that bench."""
    selector = make()
    for number in range(3):
        attempt(selector, "a", Verdict.SERVER_ERROR, at - 0.2 + number / 10)
    return selector, standing(selector, "a", at).until


def spare(selector, now, mails=11):
    """Send mails elsewhere, so that a probe is earned."""
    for _ in range(mails):
        attempt(selector, "b", Verdict.OK, now)


# 1. The score.


@pytest.mark.parametrize("exact", [True, False])
def test_one_failure_takes_a_tenth_and_five_quiet_minutes_give_it_back(exact):
    selector = make(exact=exact)
    attempt(selector, "a", Verdict.SERVER_ERROR, 100)

    assert score(selector, "a", 100) == 45
    assert score(selector, "a", 250) == 47.5
    assert score(selector, "a", 400) == 50
    assert score(selector, "a", 4000) == 50


def test_a_success_after_a_failure_heals_health_by_a_tenth_of_what_is_missing():
    selector = make()
    attempt(selector, "a", Verdict.SERVER_ERROR, 100)
    attempt(selector, "a", Verdict.OK, 100)

    assert health(selector, "a", 100) == 0.9 * 0.9 + 0.1


@pytest.mark.parametrize("exact", [True, False])
def test_the_preferred_provider_is_left_after_three_failures_and_asked_again_when_it_has_been_quiet(exact):
    selector = make(exact=exact)
    for now in (100, 100.1):
        attempt(selector, "a", Verdict.SERVER_ERROR, now)
    assert selector.pick(100.2) == "a"

    attempt(selector, "a", Verdict.SERVER_ERROR, 100.2)

    assert selector.pick(100.3) == "b"
    spare(selector, 401)
    assert selector.pick(401) == "a"


def test_ties_go_to_the_first():
    assert make({"x": 10, "y": 10}).pick(0) == "x"
    assert make({"x": 0, "y": 0}).pick(0) == "x"


def test_without_providers_nobody_is_picked():
    assert make({}).pick(0) is None
    assert make().pick(0, {"a", "b"}) is None


@pytest.mark.parametrize("verdict", Verdict)
def test_exact_counts_the_error_classes_of_the_published_rule(verdict):
    selector = make(exact=True)
    attempt(selector, "a", verdict, 100, retry_after=30)
    expected = 45 if verdict in (Verdict.SERVER_ERROR, Verdict.UNAUTHORIZED, Verdict.RATE_LIMITED) else 50

    assert score(selector, "a", 100) == expected


def test_exact_has_no_guards():
    selector = make(exact=True)
    for number in range(200):
        attempt(selector, "a", Verdict.UNAUTHORIZED, 100 + number / 10)
    for _ in range(50):
        selector.start("b", 120)
    selector.blame("b", 130)

    assert [found.state for found in selector.survey(200)] == ["open", "open"]
    assert score(selector, "b", 200) == 40
    assert selector.pick(200, {"b"}) == "a"


def test_exact_is_the_published_formula_to_the_last_bit():
    selector, rng = make(exact=True), random.Random(1)
    known = {name: [base, 1.0, None] for name, base in BASES.items()}
    for number in range(2000):
        now = number * 0.37
        scores = {}
        for name, (base, h, failed) in known.items():
            w = 1.0 if failed is None else min(1.0, (now - failed) / 300)
            scores[name] = base * (w + h * (1 - w))
        assert [found.score for found in selector.survey(now)] == list(scores.values())
        name = max(scores, key=scores.get)
        assert selector.pick(now) == name
        good = rng.random() < 0.6
        attempt(selector, name, Verdict.OK if good else Verdict.SERVER_ERROR, now)
        known[name][1] = 0.9 * known[name][1] + 0.1 if good else 0.9 * known[name][1]
        known[name][2] = known[name][2] if good else now


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


# 3. Weights.


@pytest.mark.parametrize(
    ("verdict", "weight"),
    [
        (Verdict.SERVER_ERROR, 1),
        (Verdict.UNREACHABLE, 1),
        (Verdict.UNANSWERED, 2),
        (Verdict.UNAUTHORIZED, 3),
        (Verdict.REFUSED, 0),
        (Verdict.RATE_LIMITED, 0),
        (Verdict.CANCELLED, 0),
    ],
)
def test_each_kind_of_failure_has_its_weight(verdict, weight):
    selector = make()
    attempt(selector, "a", verdict, 100)

    assert health(selector, "a", 100) == 0.9**weight


def test_a_success_slower_than_five_seconds_counts_as_a_failure():
    selector = make()
    attempt(selector, "a", Verdict.OK, 100, took=5.0)
    attempt(selector, "b", Verdict.OK, 100, took=5.1)

    assert (health(selector, "a", 100), health(selector, "b", 100)) == (1, 0.9)


def test_a_slow_success_of_the_only_provider_lowers_its_score_and_nothing_else():
    selector = make({"a": 50})
    for number in range(100):
        attempt(selector, "a", Verdict.OK, 100 + number, took=9)

    assert health(selector, "a", 200) == 0.2
    assert state(selector, "a", 200) == "open"
    assert selector.pick(200) == "a"


def test_a_slow_success_ends_the_bench_of_the_only_provider():
    selector = make({"a": 50})
    for number in range(16):
        attempt(selector, "a", Verdict.SERVER_ERROR, 100 + number)
    until = standing(selector, "a", 115).until
    for number in range(3):
        attempt(selector, "a", Verdict.OK, until + 10 * number + 9.5, took=9)

    assert state(selector, "a", until + 30) == "open"


def test_a_slow_provider_is_benched_when_another_one_is_better():
    selector = make()
    for number in range(3):
        attempt(selector, "a", Verdict.OK, 100 + number, took=9)

    assert state(selector, "a", 103) == "benched"


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


# 6. The bench.


def test_failures_of_weight_three_bench_a_provider_when_another_scores_higher():
    selector, until = benched(at=10)

    assert 14 <= until <= 16
    assert standing(selector, "a", 10).reason.endswith("after 3 failures")
    assert standing(selector, "a", until - 3).reason == "benched for 3 s after 3 failures"


def test_nobody_is_benched_while_no_other_is_better():
    selector = make({"a": 50, "b": 10})
    for number in range(8):
        attempt(selector, "a", Verdict.SERVER_ERROR, 100 + number)

    assert state(selector, "a", 110) == "open"


def test_a_success_in_between_begins_the_count_anew():
    selector = make({"a": 41, "b": 40})
    for number in range(6):
        attempt(selector, "a", Verdict.SERVER_ERROR if number % 3 else Verdict.OK, 100 + number)

    assert state(selector, "a", 106) == "open"


def test_a_dead_provider_is_benched_even_when_it_is_the_only_one():
    selector = make({"a": 50})
    for number in range(15):
        attempt(selector, "a", Verdict.SERVER_ERROR, 100 + number)
    before = state(selector, "a", 115)
    attempt(selector, "a", Verdict.SERVER_ERROR, 115)

    assert (before, state(selector, "a", 115)) == ("open", "benched")
    assert selector.pick(115) is None


def test_a_wrong_key_benches_at_once_for_five_minutes():
    selector = make({"a": 50, "b": 10})
    attempt(selector, "a", Verdict.UNAUTHORIZED, 100)

    assert 340 <= standing(selector, "a", 100).until <= 460
    assert "because it refused the key" in standing(selector, "a", 100).reason
    assert "5 min" in standing(selector, "a", standing(selector, "a", 100).until - 290).reason


# 7. Stragglers.


def test_failures_of_mails_begun_before_the_bench_do_not_bench_again():
    selector = make()
    late = [selector.start("a", 9.0) for _ in range(20)]
    for number in range(3):
        attempt(selector, "a", Verdict.SERVER_ERROR, 9.2 + number / 10)
    until = standing(selector, "a", 9.4).until
    lowered = health(selector, "a", 9.4)
    for flight in late:
        selector.finish(flight, Verdict.UNANSWERED, 24)

    assert standing(selector, "a", 9.4).until == until
    assert health(selector, "a", 24) == pytest.approx(lowered * 0.9**40)


@pytest.mark.parametrize("verdict", [Verdict.OK, Verdict.SERVER_ERROR, Verdict.CANCELLED])
def test_a_straggler_does_not_decide_or_free_a_probe(verdict):
    selector = make()
    late = selector.start("a", 9.0)
    for number in range(3):
        attempt(selector, "a", Verdict.SERVER_ERROR, 9.2 + number / 10)
    spare(selector, 20)
    probe = selector.start("a", 20)
    selector.finish(late, verdict, 20.1)

    assert probe.probe
    assert selector.pick(20.1) == "b"
    assert standing(selector, "a", 20.1).reason == "benched after 3 failures; a trial mail is on its way"


# 8. Probes.


def test_a_benched_provider_is_not_asked_before_its_time():
    selector, until = benched()
    spare(selector, 11)

    assert selector.pick(until - 0.01) == "b"
    assert selector.pick(until) == "a"


def test_only_one_mail_at_a_time_probes():
    selector, until = benched()
    spare(selector, until)
    probe = selector.start("a", until)

    assert probe.probe
    assert selector.pick(until) == "b"
    selector.finish(probe, Verdict.CANCELLED, until)
    spare(selector, until)
    assert selector.pick(until) == "a"


def test_a_probe_is_earned_by_its_failover_and_ten_mails_sent_elsewhere():
    selector, until = benched()
    spare(selector, until, mails=10)
    before = selector.pick(until)
    spare(selector, until, mails=1)

    assert (before, selector.pick(until)) == ("b", "a")


def test_a_lower_provider_is_not_probed_while_a_better_one_is_open():
    selector = make()
    for _ in range(3):
        attempt(selector, "b", Verdict.SERVER_ERROR, 100)
    for number in range(30):
        attempt(selector, "a", Verdict.OK, 101 + number)

    assert state(selector, "b", 140) == "benched"
    assert standing(selector, "b", 140).reason == "benched after 3 failures; waits for a mail to try it with"
    assert selector.pick(140) == "a"
    assert selector.pick(140, {"a"}) == "b"


def test_a_refusal_of_a_probe_decides_nothing_and_must_be_earned_again():
    selector, until = benched()
    spare(selector, until)
    attempt(selector, "a", Verdict.REFUSED, until + 0.2)

    assert state(selector, "a", until + 0.2) == "benched"
    assert selector.pick(until + 0.2) == "b"
    spare(selector, until + 0.2)
    assert selector.pick(until + 0.2) == "a"


def test_blame_for_a_refused_probe_benches_again():
    selector, until = benched()
    spare(selector, until)
    attempt(selector, "a", Verdict.REFUSED, until + 0.2)
    selector.blame("a", until + 0.5)

    assert 8 <= standing(selector, "a", until + 0.5).until - until - 0.5 <= 12


def test_a_429_to_a_probe_closes_the_provider_and_leaves_it_benched():
    selector, until = benched()
    spare(selector, until)
    attempt(selector, "a", Verdict.RATE_LIMITED, until + 0.2, retry_after=60)
    spare(selector, until + 1)

    assert selector.pick(until + 60) == "b"
    assert selector.pick(until + 60.2) == "a"
    assert state(selector, "a", until + 60.2) == "benched"


# 9. The way back.


def test_three_probes_in_a_row_end_the_bench():
    selector, until = benched()
    spare(selector, until)
    for number in range(3):
        assert selector.pick(until + number) == "a"
        attempt(selector, "a", Verdict.OK, until + number + 0.1)

    assert state(selector, "a", until + 3) == "open"
    assert health(selector, "a", until + 3) > 0.9
    assert selector.pick(until + 3) == "a"


def test_each_failed_probe_doubles_the_bench_up_to_a_minute():
    selector, until = benched()
    spans = []
    for _ in range(6):
        spare(selector, until)
        attempt(selector, "a", Verdict.SERVER_ERROR, until, took=0)
        spans.append(standing(selector, "a", until).until - until)
        until += spans[-1]

    assert [round(span / middle, 1) for span, middle in zip(spans, [10, 20, 40, 60, 60, 60], strict=True)] == [
        pytest.approx(1, abs=0.2)
    ] * 6
    assert standing(selector, "a", until - 1).reason == "benched for 1 s after a failed trial"


def test_a_failed_probe_costs_the_probes_that_succeeded_before():
    selector, until = benched()
    spare(selector, until)
    for number, verdict in enumerate([Verdict.OK, Verdict.OK, Verdict.SERVER_ERROR]):
        attempt(selector, "a", verdict, until + number + 0.1)
    until = standing(selector, "a", until + 3).until
    spare(selector, until)
    for number in range(2):
        attempt(selector, "a", Verdict.OK, until + number + 0.1)

    assert state(selector, "a", until + 2) == "benched"


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


def test_a_refused_key_is_never_the_last_resort():
    selector = make({"a": 50})
    attempt(selector, "a", Verdict.UNAUTHORIZED, 100)

    assert health(selector, "a", 100) > 0.2
    assert selector.pick(101) is None


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
