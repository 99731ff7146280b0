"""What is wrong with the variables and the parts that a command is given is told before any server is asked."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mailsvc.cli import cli


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("templates", "preview", "x", "--var", "name"), "NAME=TEXT"),
        (("templates", "preview", "x", "--variables", "list.json"), "object of JSON"),
        (("templates", "preview", "x", "--variables", "latin.txt"), "not JSON"),
        (("templates", "set", "x", "-s", "x", "--text", "latin.txt"), "not UTF-8"),
        (("templates", "set", "x", "-s", "x", "--text", "none.txt"), "No such file"),
        (("templates", "show", "x", "--version", "0"), "--version"),
        (("send", "a@example.com", "--template", "x", "--var", "=x"), "NAME=TEXT"),
        (("send", "a@example.com", "--template", "x", "--provider", "smtp"), "--provider"),
        (("send", "a@example.com"), "--template"),
        (("send", "a@example.com", "-s", "x", "-c", "y", "--template-version", "3"), "go with --template"),
        (("send", "a@example.com", "-s", "x", "-c", "y", "--var", "a=b"), "go with --template"),
        (("send", "a@example.com", "-s", "x", "-c", "y", "--variables", "list.json"), "go with --template"),
    ],
)
def test_a_command_that_is_wrong_is_told_why(
    command: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin.txt").write_bytes(b"\xff")
    Path("list.json").write_text("[]")

    done = CliRunner().invoke(cli, [*command, "--url", "http://127.0.0.1:1"])

    assert (done.exit_code, words in done.output) == (2, True), done.output
