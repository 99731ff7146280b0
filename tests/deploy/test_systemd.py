"""The unit of systemd, in the eyes of systemd."""

import subprocess
import sys
from pathlib import Path

from tests.deploy.programs import DEPLOY, system_program


def unit(folder: Path, *changes: tuple[str, str]) -> Path:
    """The unit, with a Python that is there."""
    text = (DEPLOY / "mailsvc.service").read_text()
    for old, new in (("/opt/mailsvc/.venv/bin/python", sys.executable), *changes):
        assert old in text
        text = text.replace(old, new)
    (folder / "mailsvc.service").write_text(text)
    return folder / "mailsvc.service"


def analyze(*arguments: str | Path) -> tuple[int, str]:
    program = system_program("systemd-analyze", "systemd")
    done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True, timeout=50)
    return done.returncode, done.stdout + done.stderr


def test_systemd_has_nothing_to_say_against_the_unit(tmp_path: Path) -> None:
    assert analyze("verify", unit(tmp_path)) == (0, "")


def test_systemd_finds_a_fault_in_a_unit(tmp_path: Path) -> None:
    _, said = analyze("verify", unit(tmp_path, ("NoNewPrivileges=yes", "NoNewPrivilege=yes")))

    assert "NoNewPrivilege" in said


def test_the_unit_gives_the_process_little_to_do_harm_with(tmp_path: Path) -> None:
    code, said = analyze("security", "--offline=true", "--threshold=25", unit(tmp_path))

    assert code == 0, said
