import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsvc.selector import Verdict
from mailsvc.simulate.choosers import SELECTORS
from mailsvc.simulate.measures import measure
from mailsvc.simulate.rivals import Rival
from mailsvc.simulate.scenarios import ProviderScript, Scenario, built_in
from mailsvc.simulate.virtual import VirtualProvider
from mailsvc.simulate.world import World


def scenario(a=None, b=None, **changes):
    """A short run with two providers; what is not given is healthy."""
    providers = {"A": {"base": 50, **(a or {})}, "B": {"base": 40, "cost": 1.5, **(b or {})}}
    return Scenario.model_validate({"name": "mine", "duration": 60, "providers": providers, **changes})


def fault(kind, **changes):
    return {"faults": [{"from": 0, "to": 100_000, "kind": kind, **changes}]}


def run(played, selector="guarded", seed=1):
    return World(played, SELECTORS[selector].make, seed).run()


def replies(a, mails=300, in_flight=0, poison=False, step=0.1):
    provider = VirtualProvider(ProviderScript.model_validate({"base": 50, **a}), 15.0, random.Random(3))
    return [provider.reply(number * step, in_flight, poison) for number in range(mails)]


# What a provider answers.


@pytest.mark.parametrize(
    ("kind", "verdict", "latency"),
    [
        ("server", Verdict.SERVER_ERROR, 0.1),
        ("network", Verdict.UNREACHABLE, 0.1),
        ("timeout", Verdict.UNANSWERED, 15.0),
        ("auth", Verdict.UNAUTHORIZED, 0.1),
        ("reject", Verdict.REFUSED, 0.1),
        ("rate", Verdict.RATE_LIMITED, 0.1),
    ],
)
def test_each_kind_of_fault_has_its_answer(kind, verdict, latency):
    assert {(reply.verdict, reply.latency) for reply in replies(fault(kind))} == {(verdict, latency)}


def test_a_fault_may_have_a_latency_of_its_own():
    assert {reply.latency for reply in replies(fault("timeout", latency=3))} == {3}


def test_a_fault_strikes_with_its_probability_and_within_its_window():
    found = replies({"faults": [{"from": 10, "to": 20, "kind": "server", "probability": 0.5}]}, mails=3000, step=0.01)
    failed = [number / 100 for number, reply in enumerate(found) if reply.verdict is Verdict.SERVER_ERROR]

    assert 430 < len(failed) < 570
    assert 10 <= min(failed) <= max(failed) < 20


def test_a_fault_may_drift():
    found = replies(
        {"faults": [{"from": 0, "to": 100, "kind": "server", "probability": 0, "probability_to": 1, "slower_to": 30}]},
        mails=1000,
    )
    early, late = found[:300], found[700:]

    assert sum(reply.verdict is Verdict.OK for reply in early) > 3 * sum(reply.verdict is Verdict.OK for reply in late)
    slow = [reply.latency for reply in late if reply.verdict is Verdict.OK]
    assert sum(slow) / len(slow) > 5


def test_slowness_beyond_the_time_out_is_no_answer():
    verdicts = {reply.verdict for reply in replies(fault("slow", slower=60))}

    assert verdicts == {Verdict.OK, Verdict.UNANSWERED}


def test_healthy_latency_is_log_normal():
    latencies = sorted(reply.latency for reply in replies({}, mails=4000))

    assert latencies[2000] == pytest.approx(0.25, rel=0.05)
    assert latencies[3960] == pytest.approx(0.8, rel=0.15)


def test_nobody_takes_a_poison_mail():
    assert {reply.verdict for reply in replies({}, poison=True)} == {Verdict.REFUSED}


def test_a_limit_for_each_clock_minute_names_the_rest_of_the_minute():
    found = replies({"per_minute": 30}, mails=1300)

    assert [reply.verdict for reply in found[:31]] == [Verdict.OK] * 30 + [Verdict.RATE_LIMITED]
    assert found[30].retry_after == pytest.approx(57)
    assert found[600].verdict is Verdict.OK


def test_a_quota_is_used_up_until_its_time_and_names_none():
    found = replies({"quota": 50, "quota_until": 20})

    assert [reply.verdict for reply in found] == [Verdict.OK] * 50 + [Verdict.RATE_LIMITED] * 150 + [Verdict.OK] * 100
    assert found[60].retry_after is None


def test_a_bucket_takes_its_burst_and_then_its_rate():
    found = replies({"bucket": {"rate": 2, "burst": 5}}, mails=100)

    assert [reply.verdict for reply in found[:5]] == [Verdict.OK] * 5
    assert sum(reply.verdict is Verdict.OK for reply in found) == 5 + 19
    assert next(reply for reply in found if reply.verdict is Verdict.RATE_LIMITED).retry_after == 1


def test_a_crowd_is_turned_away():
    crowd = {"max_in_flight": {"limit": 3, "from": 0, "to": 10, "latency": 0.5}}

    assert replies(crowd, mails=1, in_flight=2)[0].verdict is Verdict.OK
    assert replies(crowd, mails=1, in_flight=3)[0].verdict is Verdict.SERVER_ERROR
    assert replies(crowd, mails=200, in_flight=3)[150].verdict is Verdict.OK


# What becomes of the mails.

kinds = st.sampled_from(["server", "network", "timeout", "auth", "reject", "rate", "slow"])
broken = st.fixed_dictionaries(
    {
        "faults": st.lists(
            st.fixed_dictionaries(
                {"from": st.floats(0, 20), "to": st.floats(21, 60), "kind": kinds, "probability": st.floats(0, 1)}
            ),
            max_size=2,
        )
    }
)


@settings(max_examples=40, deadline=None)
@given(broken, broken, st.floats(0, 0.3), st.sampled_from(list(SELECTORS)), st.integers(1, 50))
def test_no_mail_appears_vanishes_or_is_delivered_twice(a, b, poison, selector, room):
    played = scenario(a, b, poison=poison, rate=4, max_in_flight=room)
    log = run(played, selector)
    accepted = [attempt.mail for attempt in log.attempts if attempt.verdict is Verdict.OK]

    assert len(accepted) == len({id(mail) for mail in accepted})
    assert {id(mail) for mail in accepted} == {id(mail) for mail in log.mails if mail.delivered_at is not None}
    assert not any(mail.poison or mail.refused for mail in accepted)
    lost = sum(not mail.poison and mail.delivered_at is None for mail in log.mails)
    assert measure(played, log)["lost"] == lost
    in_flight = sorted(moment for attempt in log.attempts for moment in ((attempt.started, 1), (attempt.ended, -1)))
    flying = most = 0
    for _, change in in_flight:
        flying += change
        most = max(most, flying)
    assert flying == 0
    assert most <= room


@pytest.mark.parametrize("selector", SELECTORS)
def test_the_same_seed_gives_the_same_run_and_another_seed_another_one(selector):
    played = scenario(fault("server", probability=0.3), poison=0.1)
    one, same, other = (measure(played, run(played, selector, seed)) for seed in (1, 1, 2))

    assert one == same
    assert one != other


def test_all_selectors_see_the_same_mails():
    arrivals = {
        name: [(mail.arrived, mail.poison) for mail in run(scenario(poison=0.2), name).mails] for name in SELECTORS
    }

    assert len({tuple(found) for found in arrivals.values()}) == 1
    assert 500 < len(arrivals["guarded"]) < 700


def test_bunches_come_beside_the_steady_rate():
    bunches = [{"at": 10, "count": 20, "spread": 2, "every": 25}, {"at": 59, "count": 3, "poison": True}]
    mails = run(scenario(rate=0, arrivals=bunches)).mails

    assert [round(mail.arrived // 5 * 5) for mail in mails] == [10] * 20 + [35] * 20 + [55] * 3
    assert [mail.poison for mail in mails] == [False] * 40 + [True] * 3


class Fixed(Rival):
    """Always the first that is left, if it is allowed at all."""

    allowed = True

    def pick(self, now, exclude=frozenset()):
        left = [name for name in self._names if name not in exclude]
        return left[0] if left and self.allowed else None


def test_a_failed_mail_goes_to_the_next_provider_at_once():
    log = World(scenario(fault("server")), Fixed, 1).run()
    mail = log.mails[0]
    mine = [attempt for attempt in log.attempts if attempt.mail is mail]

    assert [attempt.provider for attempt in mine] == ["A", "B"]
    assert mine[1].started == mine[0].ended
    assert (mail.first_pick, mail.delivered_by, mail.rounds) == ("A", "B", 0)


def test_a_mail_that_failed_everywhere_comes_again_after_growing_pauses_and_is_lost_after_eight_rounds():
    log = World(scenario(fault("server"), fault("server"), rate=0.05), Fixed, 1).run()
    mail = log.mails[0]
    starts = [attempt.started for attempt in log.attempts if attempt.mail is mail and attempt.provider == "A"]
    pauses = [later - earlier - 0.2 for earlier, later in pairwise(starts)]

    assert mail.delivered_at is None
    assert mail.rounds == 8
    for pause, middle in zip(pauses, [5, 10, 20, 40, 80, 160, 300], strict=True):
        assert 0.75 * middle <= pause <= 1.25 * middle


def test_nobody_is_asked_while_the_selector_says_none_and_no_round_is_spent():
    class Shy(Fixed):
        def pick(self, now, exclude=frozenset()):
            return super().pick(now, exclude) if now > 30 else None

    log = World(scenario(), Shy, 1).run()

    assert min(attempt.started for attempt in log.attempts) < 31.1
    assert min(attempt.started for attempt in log.attempts) > 30
    assert all(mail.delivered_at is not None and mail.rounds == 0 for mail in log.mails)


def test_mails_that_nobody_is_ever_asked_about_are_lost():
    class Mute(Fixed):
        allowed = False

    log = World(scenario(duration=5), Mute, 1).run()

    assert measure(scenario(duration=5), log)["lost"] == len(log.mails) > 20


def test_waiting_mails_are_sent_in_the_order_of_their_arrival():
    log = World(scenario(rate=30, max_in_flight=2), Fixed, 1).run()
    first_starts = [mail.first_picked_at for mail in log.mails]

    assert first_starts == sorted(first_starts)
    assert log.peak_in_flight["A"] == 2


def test_a_refusal_gets_one_second_opinion_and_two_end_the_mail():
    log = World(scenario(poison=1.0, rate=1), Fixed, 1).run()

    assert all(mail.refused for mail in log.mails)
    assert len(log.attempts) == 2 * len(log.mails)
    assert not any(attempt.blamed for attempt in log.attempts)


def test_a_refusal_that_nobody_shares_is_blamed_on_its_provider():
    log = World(scenario(fault("reject"), rate=1), Fixed, 1).run()

    assert all(mail.delivered_by == "B" for mail in log.mails)
    assert all(attempt.blamed == (attempt.provider == "A") for attempt in log.attempts)


def test_scores_are_sampled_of_selectors_that_have_some():
    assert len(run(scenario(), "guarded").samples) == 300
    assert run(scenario(), "failover").samples == []


def test_the_shipped_selector_is_what_runs():
    made = SELECTORS["guarded"].make({"A": 50}, random.Random(1))

    assert type(made).__module__ == "mailsvc.selector"
    assert built_in()["outage"].bases == {"A": 50, "B": 40}
