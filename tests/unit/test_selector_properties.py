"""What holds for every history: whatever happens in whatever order."""

import copy
import dataclasses
import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mailsvc.selector import ProviderState, Selector, Verdict

NAMES = ("a", "b", "c")
STATES = {"open", "benched", "closed", "paused", "full"}

few = settings(max_examples=60, deadline=None)
events = st.lists(
    st.tuples(
        st.sampled_from(["start", "start", "start", "finish", "finish", "blame", "pause", "resume"]),
        st.sampled_from(NAMES),
        st.sampled_from(Verdict),
        st.floats(0, 200),
        st.none() | st.floats(-10, 1e5),
    ),
    max_size=50,
)


BASES = {"a": 50.0, "b": 40.0, "c": 0.0}


def lived(history, exact=False, settled=False):
    """A selector after a history, and the time then; `settled`: with nothing in flight."""
    selector = Selector(BASES, rng=random.Random(5), exact=exact)
    now, flights = 0.0, []
    for what, name, verdict, seconds, retry_after in history:
        now += seconds / 10
        if what == "start":
            flights.append(selector.start(selector.pick(now) or name, now))
        elif what == "finish" and flights:
            selector.finish(flights.pop(len(name) * 7 % len(flights)), verdict, now, retry_after)
        elif what == "blame":
            selector.blame(name, now)
        elif what in ("pause", "resume"):
            getattr(selector, what)(name)
    for flight in flights if settled else ():
        selector.finish(flight, Verdict.CANCELLED, now)
    return selector, now


@few
@given(events, st.booleans(), st.floats(0, 1000))
def test_scores_stay_between_zero_and_the_base(history, exact, later):
    selector, now = lived(history, exact)

    for found in selector.snapshot(now + later):
        assert 0 <= found.score <= found.base
        assert 0 <= found.health <= 1
        assert found.state in STATES


@few
@given(events, st.booleans(), st.sets(st.sampled_from(NAMES)), st.floats(0, 1000))
def test_nobody_is_picked_who_is_excluded_paused_or_closed(history, exact, exclude, later):
    selector, now = lived(history, exact)
    picked = selector.pick(now + later, exclude)
    states = {found.name: found.state for found in selector.survey(now + later)}

    assert picked not in exclude
    assert picked is None or states[picked] in {"open", "benched"}


@few
@given(events, st.booleans(), st.sets(st.sampled_from(NAMES)))
def test_pick_survey_and_snapshot_change_nothing(history, exact, exclude):
    selector, now = lived(history, exact)
    before = copy.deepcopy(selector.snapshot(now)), selector.pick(now, exclude)
    for moment in (now, now + 30, now + 4000):
        selector.pick(moment, exclude)
        selector.survey(moment, exclude)
        selector.snapshot(moment)

    assert (selector.snapshot(now), selector.pick(now, exclude)) == before


@few
@given(events, st.booleans())
def test_somebody_is_always_picked_of_open_providers(history, exact):
    selector, now = lived(history, exact)
    open_ = [found.name for found in selector.survey(now) if found.state == "open"]

    assert selector.pick(now) is not None or not open_


@few
@given(events)
def test_at_most_one_probe_is_in_flight_at_each_provider(history):
    selector = Selector(dict.fromkeys(NAMES, 50.0), rng=random.Random(5))
    now, flights = 0.0, []
    for _, name, verdict, seconds, retry_after in history:
        now += seconds / 10
        flights.append(selector.start(selector.pick(now) or name, now))
        assert all(sum(flight.probe for flight in flights if flight.provider == name) <= 1 for name in NAMES)
        if seconds > 60:
            selector.finish(flights.pop(0), verdict, now, retry_after)


@few
@given(events, st.booleans(), st.floats(-1e6, 1e9), st.floats(0, 500))
def test_a_restart_forgets_nothing_but_what_is_in_flight(history, exact, clock, later):
    selector, now = lived(history, exact)
    flightless = [found for found in selector.snapshot(now) if not found.in_flight]
    stored = json.loads(json.dumps([dataclasses.asdict(found) for found in selector.snapshot(now)], allow_nan=False))

    restarted = Selector(BASES, rng=random.Random(9), exact=exact)
    restarted.restore([ProviderState(**found) for found in stored], clock)

    after = {found.name: found for found in restarted.snapshot(clock + later)}
    for found in selector.snapshot(now + later):
        if found.name in {known.name for known in flightless}:
            assert after[found.name].state == found.state
            assert after[found.name].health == found.health
            assert abs(after[found.name].score - found.score) < 1e-3


@few
@given(events)
def test_a_provider_that_is_well_again_is_preferred_again(history):
    selector, now = lived(history, settled=True)
    selector.resume("a")
    now += 4000
    for _ in range(200):
        flight = selector.start(selector.pick(now) or "b", now)
        selector.finish(flight, Verdict.OK, now + 0.2)
        now += 2

    assert selector.survey(now)[0].state == "open"
    assert selector.pick(now) == "a"


def test_what_an_unknown_or_older_snapshot_holds_is_passed_over():
    selector = Selector({"a": 50}, rng=random.Random(1))
    stranger = ProviderState("x", 1, 1, 1, "open", None, "", 0, 0, None, {"health": 0.5})
    older = ProviderState("a", 10, 1, 1, "open", None, "", 0, 0, None, {"health": 0.5, "no_longer_known": 3})
    selector.restore([stranger, older], 0)

    assert (selector.snapshot(0)[0].base, selector.snapshot(0)[0].health) == (50, 0.5)
