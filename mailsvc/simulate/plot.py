"""Figures, drawn with matplotlib, which is an optional extra. They are read on white and on black pages alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .classic import EXPERIMENTS, Experiment, play
from .runs import Cell

INSTALL = "plots need matplotlib: pip install 'mailsvc[plot]'"
INK, PALE, PREFERRED, OTHER, FAULT = "#1f2430", "#c9ced8", "#1f6feb", "#d9730d", "#f3d6d6"
LINES = [(PREFERRED, "-"), (OTHER, "--"), ("#2a9d4a", "-."), ("#8250df", ":")]
DPI = 110


class PlotError(Exception):
    """matplotlib is missing; the text says what to install."""


def require() -> None:
    """Raises PlotError when no figure can be drawn; to be known before minutes are spent."""
    _pyplot()


def draw_classic(folder: Path) -> list[Path]:
    """The two figures of the published simulation: with an alternative, and one provider alone."""
    pyplot = _pyplot()
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {experiment.name: experiment for experiment in EXPERIMENTS}
    kinds = ("complete", "half", "uniform5")
    alternative = [
        [by_name[f"alternative-{kind}-classic"] for kind in kinds],
        [by_name[f"alternative-{kind}-random"] for kind in kinds],
    ]
    single = [[by_name[f"single-{kind}-classic"] for kind in kinds]]
    return [
        _save(pyplot, folder / "score_alternative.png", partial(_score_panels, pyplot, alternative)),
        _save(pyplot, folder / "score_single.png", partial(_score_panels, pyplot, single)),
    ]


def draw_cells(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """The mean scores over time of each scenario, and two maps of scenario × selector."""
    pyplot = _pyplot()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for scenario in dict.fromkeys(cell.scenario.name for cell in cells):
        scored = [cell for cell in cells if cell.scenario.name == scenario and cell.scores]
        if scored:
            path = folder / f"scores_{scenario}.png"
            paths.append(_save(pyplot, path, partial(_scores_over_time, pyplot, scored)))
    for measure, title in [
        ("failed_per_100", "failed attempts for each 100 good mails"),
        ("share_preferred", "% of first picks on the preferred provider while it was well"),
    ]:
        path = folder / f"map_{measure}.png"
        paths.append(_save(pyplot, path, partial(_heat_map, pyplot, cells, measure, title)))
    return paths


def _pyplot() -> Any:
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional
        from matplotlib import pyplot  # noqa: PLC0415
    except ImportError as error:
        raise PlotError(INSTALL) from error
    mpl.use("Agg")
    pyplot.rcParams.update(
        {
            "font.size": 9,
            "axes.edgecolor": PALE,
            "axes.labelcolor": INK,
            "axes.titlesize": 9.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "figure.facecolor": "white",
            "legend.frameon": False,
        }
    )
    return pyplot


def _save(pyplot: Any, path: Path, draw: Callable[[], Any]) -> Path:
    figure = draw()
    figure.savefig(path, dpi=DPI, metadata={"Software": None}, pil_kwargs={"optimize": True})
    pyplot.close(figure)
    return path


def _score_panels(pyplot: Any, rows: Sequence[Sequence[Experiment]]) -> Any:
    """Panels with the scores over time, the failure rate in the title."""
    figure, axes = pyplot.subplots(
        len(rows),
        3,
        figsize=(10.5, 2.3 * len(rows) + 0.75),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for row, experiments in zip(axes, rows, strict=True):
        for axis, experiment in zip(row, experiments, strict=True):
            _score_panel(axis, experiment)
        row[0].set_ylabel("score")
    for axis in axes[-1]:
        axis.set_xlabel("minutes")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _score_panel(axis: Any, experiment: Experiment) -> None:
    outcome = play(experiment, 1, traced=True)
    minutes = [point[0] / 60 for point in outcome.trace]
    axis.plot(minutes, [point[1] for point in outcome.trace], color=PREFERRED, lw=1.3, label="preferred provider")
    if experiment.alternative:
        other = [point[2] for point in outcome.trace]
        axis.plot(minutes, other, color=OTHER, ls="--", lw=1.3, label="alternative")
    if experiment.start > 0:
        axis.axvspan(experiment.start / 60, experiment.end / 60, color=FAULT, lw=0, label="fault")
    rule = "highest score" if experiment.selector == "classic" else "random pick"
    axis.set_title(f"{experiment.about}\n{rule}: {outcome.failed:.2f} % of all attempts failed")
    axis.set(xlim=(0, 30), ylim=(0, 54))
    axis.grid(color=PALE, lw=0.4)


def _scores_over_time(pyplot: Any, cells: Sequence[Cell]) -> Any:
    """One panel for each selector that has scores."""
    figure, axes = pyplot.subplots(
        len(cells),
        1,
        figsize=(8, 2.2 * len(cells) + 0.6),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, cell in zip(axes[:, 0], cells, strict=True):
        for fault in cell.scenario.providers[cell.scenario.watched.provider].faults:
            axis.axvspan(fault.from_, min(fault.to, cell.scenario.duration), color=FAULT, lw=0)
        for number, name in enumerate(cell.scenario.providers, 1):
            color, style = LINES[(number - 1) % len(LINES)]
            points = [(point[0], point[number]) for point in cell.scores]
            axis.plot(*zip(*points, strict=True), color=color, ls=style, lw=1.3, label=name)
        failed = cell.summary["failed_per_100"].mean
        axis.set_title(f"{cell.scenario.name}: {cell.selector}, {failed:.2f} failed attempts for each 100 mails")
        axis.set(ylabel="score", xlim=(0, cell.scenario.duration), ylim=(0, None))
        axis.grid(color=PALE, lw=0.4)
    axes[-1, 0].set_xlabel("seconds")
    axes[0, 0].legend(ncols=4, loc="lower right")
    return figure


def _heat_map(pyplot: Any, cells: Sequence[Cell], measure: str, title: str) -> Any:
    """Each row is shaded by itself, for scenarios differ in scale; the numbers are the means."""
    scenarios = list(dict.fromkeys(cell.scenario.name for cell in cells))
    selectors = list(dict.fromkeys(cell.selector for cell in cells))
    means = {(cell.scenario.name, cell.selector): cell.summary[measure].mean for cell in cells}
    rows = [[means[scenario, selector] or 0.0 for selector in selectors] for scenario in scenarios]
    shades = [[(value - min(row)) / ((max(row) - min(row)) or 1) for value in row] for row in rows]
    figure, axis = pyplot.subplots(
        figsize=(1.1 * len(selectors) + 1.6, 0.34 * len(scenarios) + 1.2), layout="constrained"
    )
    axis.imshow(shades, cmap="Oranges" if measure == "failed_per_100" else "Blues", vmin=0, vmax=1.6, aspect="auto")
    axis.set_xticks(range(len(selectors)), selectors, rotation=20, ha="right")
    axis.set_yticks(range(len(scenarios)), scenarios)
    axis.spines[:].set_visible(False)
    axis.set_title(title)
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            axis.text(x, y, f"{value:.2f}" if value < 10 else f"{value:.0f}", ha="center", va="center", fontsize=8)
    return figure
