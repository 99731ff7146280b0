"""Figures. matplotlib is an optional extra; what is said without it is tested in test_simulate_cli."""

import pytest

from mailsvc.simulate import plot
from mailsvc.simulate.runs import run_cells
from mailsvc.simulate.scenarios import built_in

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'mailsvc[plot]'")


def png_size(path):
    """Width and height as the header says."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def test_the_two_figures_of_the_published_simulation_are_small_pngs(tmp_path):
    paths = plot.draw_classic(tmp_path / "figures")

    assert [path.name for path in paths] == ["score_alternative.png", "score_single.png"]
    for path in paths:
        assert png_size(path)[0] > 1000
        assert path.stat().st_size < 200_000


def test_a_comparison_is_drawn_as_scores_over_time_and_two_maps(tmp_path):
    cells = run_cells([built_in()["low"]], ["guarded", "classic", "failover"], 1, 1, lambda done: None)
    paths = plot.draw_cells(cells, tmp_path)

    assert [path.name for path in paths] == [
        "scores_low.png",
        "map_failed_per_100.png",
        "map_share_preferred.png",
    ]
    assert all(png_size(path) > (300, 100) for path in paths)
