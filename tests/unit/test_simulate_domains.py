"""What the standing by domain saves, in virtual time."""

import json

import pytest
from click.testing import CliRunner

from mailsvc.simulate.cli import simulate
from mailsvc.simulate.domains import run


@pytest.mark.parametrize("severity", [0.3, 0.6, 1.0])
def test_most_delays_are_saved_nobody_else_is_moved_and_the_provider_comes_back(severity: float) -> None:
    without, kept = (run(7, severity, by_domain=by) for by in (False, True))

    assert without.delayed == pytest.approx(severity, abs=0.05)
    assert kept.delayed < without.delayed / 4
    assert kept.strays == 0.0
    assert kept.returned_after is not None


def test_the_command_prints_the_table_and_json() -> None:
    text = CliRunner().invoke(simulate, ["domains", "--seeds", "1"], catch_exceptions=False)
    data = CliRunner().invoke(simulate, ["domains", "--seeds", "1", "--json"], catch_exceptions=False)

    assert "the host delays" in text.output
    assert [row["by_domain"] for row in json.loads(data.output)] == [False, True] * 3
