import random

import pytest

from mailsvc.selector import Selector
from mailsvc.simulate.classic import EXPERIMENTS, Finding, find, play
from mailsvc.simulate.goals import GOALS, SCRIPT, Goal, classic_rows, default_rows, pick_row, scenario_rows
from mailsvc.simulate.measures import NAMES, Summary
from mailsvc.simulate.runs import run_cells, run_classic, run_guarded_script, spread_out
from mailsvc.simulate.scenarios import built_in

BY_NAME = {experiment.name: experiment for experiment in EXPERIMENTS}


def nothing(done):
    pass


def measured(names, selectors, seeds):
    scenarios = built_in()
    return run_cells([scenarios[name] for name in names], selectors, seeds, 1, nothing)


# The published experiments.


@pytest.mark.parametrize(
    ("name", "failed"), [("alternative-complete-classic", 7 / 18_007), ("single-complete-classic", 5_999 / 23_999)]
)
def test_a_complete_outage_costs_exactly_what_the_rule_says(name, failed):
    assert play(BY_NAME[name], 1).failed == pytest.approx(100 * failed, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("alternative-half-classic", 0.03, 0.055),
        ("alternative-uniform5-classic", 0.9, 2.1),
        ("single-half-classic", 13.8, 14.8),
        ("single-uniform5-classic", 4.4, 5.2),
        ("alternative-complete-random", 13.9, 14.7),
        ("alternative-half-random", 7.3, 8.1),
        ("alternative-uniform5-random", 2.2, 2.7),
    ],
)
def test_the_published_figures_come_out(name, least, most):
    found = find(BY_NAME[name], [play(BY_NAME[name], seed).failed for seed in range(4)])

    assert least < found.mean < most
    assert found.least <= found.mean <= found.most


def test_the_scores_of_a_run_can_be_traced_without_changing_it():
    for name in ("alternative-half-classic", "alternative-half-random"):
        traced = play(BY_NAME[name], 3, traced=True)

        assert traced.failed == play(BY_NAME[name], 3).failed
        assert len(traced.trace) == 900
        assert min(preferred for _, preferred, _ in traced.trace) < 40


def test_the_default_rule_does_well_under_the_same_script():
    rows = default_rows(
        run_guarded_script(3, 1, nothing, SCRIPT), run_classic(3, 1, nothing, [BY_NAME[e.name] for e in SCRIPT])
    )

    assert [row.met for row in rows] == [True, True, True]


def test_what_is_certain_is_played_once():
    findings = run_classic(3, 1, nothing, [BY_NAME["single-complete-classic"], BY_NAME["single-half-classic"]])

    assert [finding.seeds for finding in findings] == [1, 3]


def test_a_rule_that_does_not_reproduce_the_figures_is_found_out():
    right = [Finding(experiment, 9, experiment.expected, 0, 0, 0) for experiment in EXPERIMENTS]
    wrong = [Finding(experiment, 9, experiment.expected * 1.3, 0, 0, 0) for experiment in EXPERIMENTS]

    assert [row.met for row in classic_rows(right)] == [True] * 6
    assert [row.met for row in classic_rows(wrong)] == [False] * 6


# The goals.


def test_every_goal_is_about_something_that_exists():
    assert {goal.scenario for goal in GOALS} <= set(built_in())
    assert {goal.measure for goal in GOALS} <= set(NAMES)
    assert set(built_in()) == {goal.scenario for goal in GOALS}


@pytest.mark.parametrize(
    ("worst", "at_most", "value"),
    [(False, True, 2.0), (False, False, 2.0), (True, True, 3.0), (True, False, 1.0)],
)
def test_a_goal_looks_at_the_mean_or_at_the_worst_run(worst, at_most, value):
    goal = Goal("outage", "p99", worst, at_most, 2.5)

    assert goal.value({"p99": Summary(2.0, 1.0, 3.0)}) == value
    assert goal.met(value) == (value <= 2.5 if at_most else value >= 2.5)


def test_never_meets_no_goal():
    assert not Goal("outage", "back_s", False, True, 1e9).met(None)


def test_cheap_scenarios_meet_their_goals():
    rows = scenario_rows(measured(["blip", "low", "stall", "verylow"], ["guarded"], 3))

    assert len(rows) > 10
    assert [row for row in rows if not row.met] == []


@pytest.mark.parametrize(
    ("guard", "scenario"),
    [("overdue", "stall"), ("bench", "low"), ("classes", "poison"), ("silence", "silence"), ("slowness", "drift")],
)
def test_without_a_guard_a_goal_is_missed(guard, scenario):
    (cell,) = measured([scenario], [f"without-{guard}"], 2)
    goals = [goal for goal in GOALS if goal.scenario == scenario]

    assert not all(goal.met(goal.value(cell.summary)) for goal in goals)


def test_rivals_stand_beside_the_measured():
    rows = scenario_rows(measured(["low"], ["guarded", "classic", "failover"], 2))

    assert set(rows[0].rivals) == {"classic", "failover"}
    assert rows[0].rivals["classic"] > rows[0].measured


def test_pick_is_timed():
    row = pick_row()

    assert row.measured > 0
    assert row.met == (row.measured <= 20)


# Many runs.


def test_the_number_of_processes_changes_nothing():
    scenarios = [built_in()["low"]]
    one = run_cells(scenarios, ["guarded", "random"], 3, 1, nothing)
    two = run_cells(scenarios, ["guarded", "random"], 3, 2, nothing)

    assert one == two
    assert [(cell.selector, cell.seeds) for cell in one] == [("guarded", 3), ("random", 3)]
    assert len(one[0].scores) == 300
    assert one[1].scores == []


def test_progress_is_told_after_each_run():
    told = []

    assert list(spread_out(abs, [-1, -2, -3], 1, told.append)) == [1, 2, 3]
    assert told == [1, 2, 3]


def test_exact_is_faster_to_leave_than_random_and_both_are_selectors():
    exact = Selector({"preferred": 50, "alternative": 40}, rng=random.Random(1), exact=True)

    assert play(BY_NAME["alternative-complete-random"], 1, exact).failed < 0.05
