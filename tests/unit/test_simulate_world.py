"""What becomes of the mails of the virtual world."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsvc.selector import Verdict
from mailsvc.simulate.choosers import SELECTORS
from mailsvc.simulate.measures import measure
from mailsvc.simulate.rivals import Rival
from mailsvc.simulate.scenarios import Scenario, built_in
from mailsvc.simulate.world import World


def scenario(a=None, b=None, **changes):
    """A short run with two providers; what is not given is healthy."""
    providers = {"A": {"base": 50, **(a or {})}, "B": {"base": 40, "cost": 1.5, **(b or {})}}
    return Scenario.model_validate({"name": "mine", "duration": 60, "providers": providers, **changes})


def fault(kind, **changes):
    return {"faults": [{"from": 0, "to": 100_000, "kind": kind, **changes}]}


def run(played, selector="guarded", seed=1):
    return World(played, SELECTORS[selector].make, seed).run()


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


def test_a_failed_mail_that_waits_for_another_provider_is_sent_before_its_round_and_only_once():
    class Late(Fixed):
        def pick(self, now, exclude=frozenset()):
            return super().pick(now, exclude) if "A" not in exclude or now > 3 else None

    log = World(scenario(fault("server"), duration=2), Late, 1).run()

    assert len(log.attempts) == 2 * len(log.mails) > 20
    assert all(3 < mail.delivered_at < 5 and mail.delivered_by == "B" for mail in log.mails)


def test_mails_that_wait_for_one_provider_do_not_hold_up_those_that_may_go_to_another():
    class OnlyA(Fixed):
        def pick(self, now, exclude=frozenset()):
            return "A" if "A" not in exclude else None

    down_for_ten_seconds = {"faults": [{"from": 0, "to": 10, "kind": "server"}]}
    log = World(scenario(down_for_ten_seconds), OnlyA, 1).run()
    late = [mail for mail in log.mails if mail.arrived > 10]

    assert len(late) > 300
    assert all(mail.first_picked_at == mail.arrived for mail in late)


def test_a_mail_that_is_lost_while_it_waits_is_not_sent_any_more():
    class FarTooLate(Fixed):
        def pick(self, now, exclude=frozenset()):
            return super().pick(now, exclude) if "A" not in exclude or now > 2000 else None

    log = World(scenario(fault("server"), duration=5), FarTooLate, 1).run()

    assert {attempt.provider for attempt in log.attempts} == {"A"}
    assert all(mail.delivered_at is None and mail.rounds == 8 for mail in log.mails)


def test_a_mail_is_not_offered_again_to_a_provider_that_refused_it():
    down_for_a_minute = {"faults": [{"from": 0, "to": 60, "kind": "server"}]}
    log = World(scenario(fault("reject"), down_for_a_minute, duration=5), Fixed, 1).run()

    assert all(mail.delivered_by == "B" and mail.rounds > 1 for mail in log.mails)
    assert sum(attempt.provider == "A" for attempt in log.attempts) == len(log.mails)


def test_mails_of_different_standing_are_sent_in_the_order_in_which_they_began_to_wait():
    class Patient(Fixed):
        def pick(self, now, exclude=frozenset()):
            return super().pick(now, exclude) if not self.begun or now > 2 else None

        begun = False

        def start(self, name, now):
            self.begun = True
            return super().start(name, now)

    log = World(scenario(fault("server", latency=1), duration=0.9, max_in_flight=1), Patient, 1).run()
    starts = sorted(log.attempts, key=lambda attempt: attempt.started)

    assert starts[0].mail is log.mails[0]
    assert starts[1].mail is log.mails[1]


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
    class Told(Fixed):
        told = 0

        def blame(self, name, now):
            Told.told += name == "A"

    log = World(scenario(fault("reject"), rate=1), Told, 1).run()

    assert Told.told == len(log.mails) > 20
    assert all(mail.delivered_by == "B" for mail in log.mails)
    assert all(attempt.blamed == (attempt.provider == "A") for attempt in log.attempts)


def test_scores_are_sampled_of_selectors_that_have_some():
    assert len(run(scenario(), "guarded").samples) == 300
    assert run(scenario(), "failover").samples == []


def test_the_shipped_selector_is_what_runs():
    made = SELECTORS["guarded"].make({"A": 50}, random.Random(1))

    assert type(made).__module__ == "mailsvc.selector"
    assert built_in()["outage"].bases == {"A": 50, "B": 40}
