"""Every command says what it does, with an example."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from mailsvc.cli import cli


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every command, groups among them."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            assert found
            yield (*path, name)
            if isinstance(found, click.Group):
                yield from commands(found, (*path, name))


def helped(path: tuple[str, ...]) -> str:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found
        command = found
    return command.get_help(click.Context(command))


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_every_command_has_an_example_that_names_it(path: tuple[str, ...]) -> None:
    text = helped(path)

    assert "Example" in text
    assert f"mailsvc {path[0]}" in text or path == ("migrate",)
