"""The table of threats leads to tests that exist, and dependencies are what they are said to be."""

import ast
import re
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "security.md").read_text()
ROWS = dict(re.findall(r"^\| (T\d+) \| (.*) \|$", TABLE, re.MULTILINE))
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+)::(\w+)`", TABLE)))


def test_every_threat_is_in_the_table_and_has_a_test_unless_it_says_why_not() -> None:
    assert list(ROWS) == [f"T{number}" for number in range(1, 24)]
    assert [name for name, row in ROWS.items() if "`tests/" not in row and "there are no" not in row] == []


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    assert name in found


def locked(file: str) -> list[tuple[str, str, bool]]:
    """Each line of a lock file: the package, its version, and whether it is pinned by a hash."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    parts = [re.match(r"([a-z0-9._-]+)(?:==([^ ;]+))?(.*)", line) for line in lines]
    return [(part[1], part[2] or "", "--hash=sha256:" in part[3]) for part in parts if part]


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_is_pinned_by_a_hash(file: str) -> None:
    found = locked(file)

    assert len(found) > 20
    assert [name for name, version, hashed in found if not (version and hashed)] == []


def test_the_http_server_is_new_enough() -> None:
    (version,) = (version for name, version, _ in locked("requirements.txt") if name == "tornado")

    assert Version(version) >= Version("6.5.5")  # with those before it, requests could be smuggled
