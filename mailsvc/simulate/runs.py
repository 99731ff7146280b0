"""Many runs on several cores: every scenario with every selector and every seed, summed up cell by cell."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from .choosers import SELECTORS
from .classic import Experiment, Finding, find, play
from .measures import Measures, Summary, measure, summarize
from .scenarios import Scenario
from .world import World

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[int], None]  # told how many tasks are done


@dataclass(frozen=True, slots=True)
class Cell:
    """One scenario with one selector. `scores` are the mean scores over time: s, then one for each provider."""

    scenario: Scenario
    selector: str
    seeds: int
    summary: dict[str, Summary]
    scores: list[tuple[float, ...]]


def run_cells(
    scenarios: Sequence[Scenario], selectors: Sequence[str], seeds: int, jobs: int, progress: Progress
) -> list[Cell]:
    """Every scenario with every selector, in that order."""
    tasks = [(scenario, selector, seed) for scenario in scenarios for selector in selectors for seed in range(seeds)]
    results = spread_out(_run, tasks, jobs, progress)
    cells = []
    for scenario in scenarios:
        for selector in selectors:
            runs = [next(results) for _ in range(seeds)]
            summary = summarize([measures for measures, _ in runs])
            cells.append(Cell(scenario, selector, seeds, summary, _mean_scores([scores for _, scores in runs])))
    return cells


def run_classic(seeds: int, jobs: int, progress: Progress, experiments: Sequence[Experiment]) -> list[Finding]:
    """The published experiments. What is certain is run once."""
    tasks = [(experiment, seed) for experiment in experiments for seed in range(1 if experiment.certain else seeds)]
    results = list(spread_out(_play_classic, tasks, jobs, progress))
    return [_found(experiment, tasks, results) for experiment in experiments]


def run_guarded_script(seeds: int, jobs: int, progress: Progress, experiments: Sequence[Experiment]) -> list[Finding]:
    """The script of the published experiments, with the default rule instead."""
    tasks = [(experiment, seed) for experiment in experiments for seed in range(seeds)]
    results = list(spread_out(_play_guarded, tasks, jobs, progress))
    return [_found(experiment, tasks, results) for experiment in experiments]


def spread_out(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int, progress: Progress
) -> Iterator[Result]:
    """The results in the order of the tasks, from `jobs` processes."""
    if jobs == 1:
        yield from _counted(map(work, tasks), progress)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from _counted(pool.map(work, tasks, chunksize=max(1, min(8, len(tasks) // (4 * jobs)))), progress)


def _counted(results: Iterable[Result], progress: Progress) -> Iterator[Result]:
    for number, result in enumerate(results, 1):
        progress(number)
        yield result


def _run(task: tuple[Scenario, str, int]) -> tuple[Measures, list[tuple[float, ...]]]:
    scenario, selector, seed = task
    log = World(scenario, SELECTORS[selector].make, seed).run()
    scores = [(now, *(state.score for state in states)) for now, states in log.samples]
    return measure(scenario, log), scores


def _play_classic(task: tuple[Experiment, int]) -> float:
    return play(*task).failed


def _play_guarded(task: tuple[Experiment, int]) -> float:
    experiment, seed = task
    rng = random.Random(f"{experiment.name} {seed} guarded")  # noqa: S311 - reproducible on purpose
    return play(experiment, seed, SELECTORS["guarded"].make(experiment.bases, rng)).failed


def _found(experiment: Experiment, tasks: Sequence[tuple[Experiment, int]], results: Sequence[float]) -> Finding:
    return find(experiment, [result for task, result in zip(tasks, results, strict=True) if task[0] is experiment])


def _mean_scores(runs: Sequence[list[tuple[float, ...]]]) -> list[tuple[float, ...]]:
    return [
        tuple(sum(values) / len(values) for values in zip(*points, strict=True)) for points in zip(*runs, strict=True)
    ]
