"""Points 6 to 9 of the rule: the bench, stragglers, probes and the way back."""

import pytest

from mailsvc.selector import Verdict
from tests.unit.selecting import attempt, benched, health, make, score, spare, standing, state

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


@pytest.mark.parametrize("seed", range(5))
def test_benches_are_jittered_so_that_processes_do_not_probe_together(seed):
    selector = make(seed=seed)
    for _ in range(3):
        attempt(selector, "a", Verdict.SERVER_ERROR, 100)
    span = standing(selector, "a", 100).until - 100

    assert 4 <= span <= 6
    assert span != 5


@pytest.mark.parametrize("gone", ["benched", "paused"])
def test_who_cannot_be_asked_is_no_reason_to_bench_another(gone):
    selector = make()
    if gone == "benched":
        for _ in range(3):
            attempt(selector, "b", Verdict.SERVER_ERROR, 90)
    else:
        selector.pause("b")
    for number in range(8):
        attempt(selector, "a", Verdict.SERVER_ERROR, 100 + number / 10)

    assert score(selector, "a", 101) < score(selector, "b", 101)
    assert state(selector, "b", 101) == gone
    assert state(selector, "a", 101) == "open"


def test_a_success_clears_the_suspicion_against_the_key():
    selector = make()
    attempt(selector, "a", Verdict.UNAUTHORIZED, 100)
    for number in range(3):
        spare(selector, 500)
        attempt(selector, "a", Verdict.OK, 500 + number)
    for number in range(3):
        attempt(selector, "a", Verdict.SERVER_ERROR, 510 + number / 10)

    assert standing(selector, "a", 510.2).reason.endswith("after 3 failures")
    assert standing(selector, "a", 510.2).until < 525


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


def test_failures_of_mails_begun_before_the_bench_do_not_bench_when_it_is_over_either():
    selector = make()
    late = [selector.start("a", 9.0) for _ in range(3)]
    for number in range(3):
        attempt(selector, "a", Verdict.SERVER_ERROR, 9.2 + number / 10)
    spare(selector, 20)
    for number in range(3):
        attempt(selector, "a", Verdict.OK, 20 + number)
    for flight in late:
        selector.finish(flight, Verdict.UNANSWERED, 24)

    assert state(selector, "a", 24) == "open"


def test_a_late_success_does_not_clear_a_refused_key():
    selector = make({"a": 50})
    late = selector.start("a", 9.0)
    attempt(selector, "a", Verdict.UNAUTHORIZED, 10)
    selector.finish(late, Verdict.OK, 11)
    spare_until = standing(selector, "a", 11).until

    assert selector.pick(11) is None
    assert selector.pick(11 + 30) is None
    assert selector.pick(spare_until) == "a"


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


def test_mails_sent_before_the_bench_or_to_the_benched_provider_itself_earn_nothing():
    selector = make()
    spare(selector, 5, mails=50)
    for _ in range(3):
        attempt(selector, "a", Verdict.SERVER_ERROR, 10)
    for _ in range(20):
        attempt(selector, "a", Verdict.CANCELLED, 11)

    assert selector.pick(17) == "b"


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
    assert health(selector, "a", until + 3) == pytest.approx(1 - (1 - 0.9**3) / 27)
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
