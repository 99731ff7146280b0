import pytest

from mailsvc.selector import Verdict
from mailsvc.simulate.measures import NAMES, Summary, measure, summarize
from mailsvc.simulate.scenarios import Scenario
from mailsvc.simulate.world import Attempt, Log, Mail


def scenario(faults=(), **watch):
    return Scenario.model_validate(
        {
            "name": "mine",
            "duration": 100,
            "providers": {"A": {"base": 50, "cost": 1, "faults": list(faults)}, "B": {"base": 40, "cost": 3}},
            "watch": {"provider": "A", "from": 40, "to": 70, "window": 10, **watch},
        }
    )


def log(*mails, every=1.0):
    """A run of mails told by letters: who was asked, in order; small letters fail, capitals succeed."""
    found = Log(peak_in_flight={"A": 7, "B": 2})
    for number, told in enumerate(mails):
        now = number * every
        mail = Mail(now, poison=False, first_pick=told[0].upper(), first_picked_at=now)
        found.mails.append(mail)
        for letter in told:
            verdict = Verdict.OK if letter.isupper() else Verdict.SERVER_ERROR
            found.attempts.append(Attempt(mail, letter.upper(), now, now + 0.5, verdict, None))
            now += 0.5
            if letter.isupper():
                mail.delivered_at, mail.delivered_by = now, letter
    return found


def test_every_measure_has_an_explanation():
    assert set(measure(scenario(), log("A"))) == set(NAMES)


def test_failures_latency_cost_and_loss_are_counted():
    found = measure(scenario(), log("A", "aB", "ab", "B"))

    assert found["failed"] == 3
    assert found["failed_per_100"] == 75
    assert found["lost"] == 1
    assert (found["p50"], found["p99"]) == (0.5, 1.0)
    assert found["cost"] == pytest.approx((1 + 3 + 3) / 3)
    assert found["dear_share"] == pytest.approx(100 * 2 / 3)
    assert found["peak_in_flight"] == 7


def test_a_refusal_is_a_failure_only_when_it_is_blamed_on_the_provider():
    told = log("aB", "aB")
    for attempt in told.attempts:
        if attempt.verdict is not Verdict.OK:
            attempt.verdict = Verdict.REFUSED
    told.attempts[0].blamed = True

    assert measure(scenario(), told)["failed"] == 1


def test_failures_of_poison_mails_do_not_count():
    told = log("aB", "aB")
    told.mails[0].poison = True

    assert measure(scenario(), told)["failed_per_100"] == 100
    assert measure(scenario(), told)["failed"] == 1


def test_missing_answers_are_counted_apart():
    told = log("aB", "aB")
    told.attempts[0].verdict = Verdict.UNANSWERED

    assert measure(scenario(), told)["timeouts"] == 1


def outage(leaves, returns):
    """A mail a second; A is asked but between `leaves` and `returns`; it fails from 40 to 70."""
    return log(*("B" if leaves <= s < returns else "aB" if 40 <= s < 70 else "A" for s in range(100)))


def test_leaving_and_coming_back_are_measured_from_the_fault_and_from_the_cure():
    found = measure(scenario(), outage(44, 78))

    assert found["leave_s"] == 3  # the window begins right after the last mail on A, at 43 s
    assert found["back_s"] == 7  # right after the last mail on B, at 77 s
    assert found["back_mails"] == 7


def test_who_never_leaves_or_never_comes_back_has_no_time_for_it():
    assert measure(scenario(), outage(1000, 1000))["leave_s"] is None
    assert measure(scenario(), outage(44, 1000))["back_s"] is None
    assert measure(scenario(), outage(66, 1000))["leave_s"] is None  # no whole window is left before the cure
    assert measure(scenario(), outage(44, 95))["back_s"] is None  # nor before the end


def test_what_fails_on_the_watched_provider_after_it_was_left_is_a_wasted_probe():
    told = log(*("aB" if s in (40, 41, 42, 55, 65) else "B" if 42 < s < 71 else "A" for s in range(100)))
    found = measure(scenario(), told)

    assert found["leave_s"] == 2
    assert found["wasted_probes"] == 2
    assert found["most_of_ten"] == 1
    assert found["failed_after"] == 0


def test_the_share_counts_first_picks_outside_of_the_scripted_faults():
    told = outage(40, 80)

    assert measure(scenario([{"from": 40, "to": 70, "kind": "server"}]), told)["share_preferred"] == 100 * 60 / 70
    assert measure(scenario([{"from": 0, "to": 100, "kind": "server"}]), told)["share_preferred"] == 60


def test_the_backlog_is_what_waited_at_the_cure():
    told = log("A", "B", "A")
    late = Mail(30.0, poison=False, first_pick="A", first_picked_at=82.5)
    told.mails.append(late)
    told.attempts.append(Attempt(late, "A", 82.5, 83, Verdict.OK, None))
    told.attempts.append(Attempt(Mail(90.0, poison=False), "A", 95, 96, Verdict.OK, None))

    assert measure(scenario(), told)["backlog_s"] == 12.5


def test_a_summary_has_no_worst_when_something_never_happened_and_no_mean_when_it_mostly_did_not():
    runs = [{"leave_s": value} for value in (1.0, 3.0, None)]
    rare = [{"leave_s": value} for value in (None, 3.0, None)]

    assert summarize(runs)["leave_s"] == Summary(2.0, 1.0, None)
    assert summarize(rare)["leave_s"] == Summary(None, 3.0, None)
    assert summarize([{"p50": 1.0}, {"p50": 2.0}])["p50"] == Summary(1.5, 1.0, 2.0)
