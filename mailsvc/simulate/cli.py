"""`mailsvc simulate`: rehearse an outage, compare selectors, reproduce the published figures. Virtual time only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from . import domains, goals, pages, plot, report
from .choosers import RIVALS, SELECTORS
from .classic import EXPERIMENTS, Finding
from .runs import Cell, Progress, run_cells, run_classic, run_guarded_script
from .scenarios import Scenario, ScenarioError, built_in, load

MISSED, BAD_INPUT = 1, 2
SCRIPT_RUNS = 4  # of the published script for each run of a scenario: it is quick, and its bounds are tight
COMPARED = ["guarded", *RIVALS]
Command = TypeVar("Command", bound=Callable[..., Any])


class BadScenario(click.ClickException):
    """A scenario that is not one; exit 2."""

    exit_code = BAD_INPUT


def _options(seeds: int) -> Callable[[Command], Command]:
    """The options every simulation has."""

    def decorate(command: Command) -> Command:
        jobs = os.cpu_count() or 1
        for option in (
            click.option("--json", "as_json", is_flag=True, help="Print JSON for programs."),
            click.option(
                "--jobs", type=click.IntRange(1, 256), default=jobs, help=f"Processes. [default: {jobs} here]"
            ),
            click.option(
                "--seeds", type=click.IntRange(1, 10_000), default=seeds, show_default=True, help="Runs of each."
            ),
        ):
            command = option(command)
        return command

    return decorate


_PLOT = click.option(
    "--plot",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also draw figures into this folder (needs matplotlib).",
)


@click.group(name="simulate")
def simulate() -> None:
    """Rehearse outages in virtual time with the selector that is shipped.

    \b
    Example: rehearse an outage of your own
      mailsvc simulate run --scenario my-outage.json --selector guarded --selector classic
    """


@simulate.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def list_(as_json: bool) -> None:
    """Show the built-in scenarios and the selectors.

    \b
    Example:
      mailsvc simulate list
    """
    scenarios, selectors = built_in(), {name: kind.about for name, kind in SELECTORS.items()}
    if as_json:
        _print_json({"scenarios": {name: found.about for name, found in scenarios.items()}, "selectors": selectors})
        return
    click.echo(
        report.table(["scenario", "what happens"], [[s.name, s.about] for s in scenarios.values()], report.NO_NUMBERS)
    )
    click.echo()
    click.echo(
        report.table(["selector", "its rule"], [[name, about] for name, about in selectors.items()], report.NO_NUMBERS)
    )


@simulate.command("domains")
@click.option("--seeds", type=click.IntRange(1, 1000), default=30, show_default=True, help="Runs of each.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def domains_(seeds: int, as_json: bool) -> None:
    """Show what it saves to know how a provider stands with a domain that delays its mail.

    \b
    Example:
      mailsvc simulate domains --seeds 10
    """
    rows = domains.table(seeds)
    if as_json:
        _print_json([{"severity": severity, "by_domain": by, **asdict(kept)} for severity, by, kept in rows])
        return
    heads = ["the host delays", "standing by domain", "delayed", "others moved", "back after, s"]
    shown = [
        [
            f"{severity:.0%}",
            "yes" if by else "no",
            f"{kept.delayed:.1%}",
            f"{kept.strays:.1%}",
            report.number(kept.returned_after, 0),
        ]
        for severity, by, kept in rows
    ]
    click.echo(report.table(heads, shown, range(2, 5)))


@simulate.command()
@click.option("--scenario", "names", multiple=True, metavar="NAME|FILE.json", help="Built-in or a file; repeatable.")
@click.option(
    "--selector", "selectors", multiple=True, metavar="NAME", type=click.Choice(list(SELECTORS)), help="Repeatable."
)
@_PLOT
@_options(30)
def run(
    names: tuple[str, ...], selectors: tuple[str, ...], folder: Path | None, seeds: int, jobs: int, as_json: bool
) -> None:
    """Run scenarios and show what each selector makes of them.

    Without options: every built-in scenario, the shipped rule, the published one and the rivals.

    \b
    Examples:
      mailsvc simulate run --scenario brownout
      mailsvc simulate run --scenario my-outage.json --seeds 5 --plot out/
    """
    _require_plots(folder)
    scenarios = [_scenario(name) for name in dict.fromkeys(names)] or list(built_in().values())
    cells = _measure(scenarios, list(dict.fromkeys(selectors)) or COMPARED, seeds, jobs)
    if as_json:
        _print_json(report.cells_json(cells))
    else:
        click.echo(report.cells_text(cells))
    if folder:
        _tell(plot.draw_cells(cells, folder))


@simulate.command()
@_PLOT
@_options(200)
def classic(folder: Path | None, seeds: int, jobs: int, as_json: bool) -> None:
    """Reproduce the published simulation of the score rule, and its two figures.

    \b
    Example:
      mailsvc simulate classic --seeds 200 --plot docs/figures
    """
    _require_plots(folder)
    findings = _classic(seeds, jobs)
    if as_json:
        _print_json(report.classic_json(findings))
    else:
        click.echo(f"Failed attempts, % of all attempts; 18,000 mails one after another; {seeds} seeds\n")
        click.echo(report.table(*report.classic_rows(findings), report.CLASSIC_NUMBERS))
    if folder:
        _tell(plot.draw_classic(folder))


@simulate.command("goals")
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="Only the goals of this one; repeatable.")
@click.option("--alone", is_flag=True, help="Without the rivals: quicker.")
@_options(30)
def goals_(names: tuple[str, ...], alone: bool, seeds: int, jobs: int, as_json: bool) -> None:
    """Check every goal of the shipped selector; exit 1 if one is missed.

    \b
    Example:
      mailsvc simulate goals --alone
    """
    scenarios = [_scenario(name) for name in dict.fromkeys(names)]
    cells = _measure(scenarios or list(built_in().values()), ["guarded"] if alone else COMPARED, seeds, jobs)
    rows = ([] if scenarios else _script_rows(seeds, jobs)) + goals.scenario_rows(cells)
    if as_json:
        _print_json(report.goals_json(rows))
    else:
        click.echo(report.table(*report.goals_rows(rows), report.GOAL_NUMBERS))
    missed = sum(not row.met for row in rows)
    click.echo(f"{len(rows) - missed} of {len(rows)} goals met", err=as_json)
    sys.exit(MISSED if missed else 0)


@simulate.command()
@click.option(
    "--page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path("docs/selector.md"),
    show_default=True,
    help="The page whose tables are made anew.",
)
@_options(30)
def docs(page: Path, seeds: int, jobs: int, as_json: bool) -> None:
    """Make the tables of docs/selector.md anew.

    \b
    Example:
      mailsvc simulate docs --seeds 30
    """
    scenarios = built_in()
    cells = _measure(list(scenarios.values()), COMPARED, seeds, jobs)
    for guard in dict.fromkeys(worth.guard for worth in pages.WORTHS):
        shown = dict.fromkeys(worth.scenario for worth in pages.WORTHS if worth.guard == guard)
        cells += _measure([scenarios[name] for name in shown], [f"without-{guard}"], seeds, jobs)
    blocks = pages.tables(cells, _classic(200, jobs), _default(SCRIPT_RUNS * seeds, jobs), seeds)
    try:
        page.write_text(pages.fill(page.read_text(), blocks))
    except pages.PageError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        _print_json({"page": str(page), "tables": list(blocks)})
    else:
        click.echo(f"{page}: {len(blocks)} tables made anew")


def _scenario(name: str) -> Scenario:
    """A built-in scenario by name, or one from a file."""
    known = built_in()
    if name in known:
        return known[name]
    if not name.endswith(".json"):
        raise BadScenario(f"there is no scenario {name!r}; built in are {', '.join(known)}; a file must end with .json")
    try:
        return load(Path(name))
    except ScenarioError as error:
        raise BadScenario(str(error)) from error


def _measure(scenarios: Sequence[Scenario], selectors: Sequence[str], seeds: int, jobs: int) -> list[Cell]:
    with _progress("simulating", len(scenarios) * len(selectors) * seeds) as progress:
        return run_cells(scenarios, selectors, seeds, jobs, progress)


def _script_rows(seeds: int, jobs: int) -> list[goals.Row]:
    """The goals under the script of the published simulation, and the time `pick` takes."""
    findings, default = _classic(SCRIPT_RUNS * seeds, jobs), _default(SCRIPT_RUNS * seeds, jobs)
    return [*goals.classic_rows(findings), *goals.default_rows(default, findings), goals.pick_row()]


def _classic(seeds: int, jobs: int) -> list[Finding]:
    total = sum(1 if experiment.certain else seeds for experiment in EXPERIMENTS)
    with _progress("published experiments", total) as progress:
        return run_classic(seeds, jobs, progress, EXPERIMENTS)


def _default(seeds: int, jobs: int) -> list[Finding]:
    with _progress("the same by the default rule", len(goals.SCRIPT) * seeds) as progress:
        return run_guarded_script(seeds, jobs, progress, goals.SCRIPT)


@contextmanager
def _progress(label: str, total: int) -> Iterator[Progress]:
    """A bar on stderr, when a person is looking."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr, show_pos=True) as bar:
        yield lambda done: bar.update(done - bar.pos)


def _require_plots(folder: Path | None) -> None:
    """Before minutes are spent."""
    if folder:
        try:
            plot.require()
        except plot.PlotError as error:
            raise click.ClickException(str(error)) from error


def _tell(paths: Sequence[Path]) -> None:
    for path in paths:
        click.echo(f"drawn: {path}", err=True)


def _print_json(value: Any) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
