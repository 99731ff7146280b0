"""What docs/adding-a-provider.md says: its two files, as they stand there, make a provider that all tests hold for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Puts the two files where they would be in the repository.
PLUGIN = """
import importlib.util
import sys
import mailsvc.providers
mailsvc.providers.__path__.append({folder!r})

def pytest_collection_finish():
    spec = importlib.util.spec_from_file_location("tests.providers.test_postino", {tests!r})
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The two files, in a folder of their own."""
    page = (ROOT / "docs" / "adding-a-provider.md").read_text()
    provider, tests = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    places = (tmp_path / "new" / "postino.py", tmp_path / "tests" / "providers" / "test_postino.py")
    for place, text in zip(places, (provider, tests), strict=True):
        place.parent.mkdir(parents=True)
        place.write_text(text)
    (tmp_path / "postino_plugin.py").write_text(PLUGIN.format(folder=str(places[0].parent), tests=str(places[1])))
    return places


def run(tmp_path: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, input=given, capture_output=True, text=True, check=False, timeout=100
    )


def test_the_two_files_of_the_page_are_a_provider(tmp_path: Path, files: tuple[Path, Path]) -> None:
    tests = ["tests/contract/test_providers.py", "tests/contract/test_provider_answers.py", str(files[1])]
    done = run(tmp_path, "pytest", "-q", "-p", "postino_plugin", "-p", "no:cacheprovider", "-k", "postino", *tests)
    passed = re.search(r"(\d+) passed", done.stdout)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert passed
    assert int(passed[1]) > 150


def test_they_are_in_the_style_of_the_project(tmp_path: Path, files: tuple[Path, Path]) -> None:
    for file, place in zip(files, ("mailsvc/providers/postino.py", "tests/providers/test_postino.py"), strict=True):
        for order in (("check",), ("format", "--diff")):
            done = run(tmp_path, "ruff", *order, "--stdin-filename", place, "-", given=file.read_text())
            assert done.returncode == 0, done.stdout + done.stderr
