"""Points 1, 3 and 15 of the rule: the score, the weights, the published rule alone."""

import random

import pytest

from mailsvc.selector import Verdict
from tests.unit.selecting import BASES, attempt, health, make, score, spare, standing, state

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
