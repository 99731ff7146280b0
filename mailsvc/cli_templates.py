"""`mailsvc templates`: the templates of a running server."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import click

from .command import SOURCE, Defaulting, asks_server, takes_variables, variables

if TYPE_CHECKING:
    from .remote import Remote

JSON = click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
VERSION = click.option("--version", type=click.IntRange(1), metavar="N", help="This version. Default: the newest.")


def takes_parts(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that give the parts of a template; `parts` makes an object of them."""
    for name, words in (("text", "plain text"), ("html", "HTML"), ("content", "markdown")):
        command = click.option(f"--{name}", type=SOURCE, help=f"A file of {words}; - is the standard input.")(command)
    return click.option("-s", "--subject", help="One line.")(command)


def parts(subject: str | None, **files: IO[str] | None) -> dict[str, str]:
    """The parts that were given. Raises UsageError."""
    try:
        read = {name: file.read() for name, file in files.items() if file is not None}
    except UnicodeDecodeError:
        raise click.UsageError("a part is not UTF-8") from None
    return ({"subject": subject} if subject is not None else {}) | read


@click.group(cls=Defaulting)
def templates() -> None:
    """The templates of a running server. Changing one needs a key with the scope `admin`.

    \b
    Examples:
      mailsvc templates                           the same as: mailsvc templates list
      mailsvc templates set welcome -s 'Welcome, {{ name }}' --content welcome.md
      mailsvc templates preview welcome --var name=Ann
      mailsvc send ann@example.com --template welcome --var name=Ann
    """


@templates.command("list")
@JSON
@asks_server
def list_templates(remote: Remote, as_json: bool) -> int:
    """Every template, as of its newest version.

    \b
    Example:
      mailsvc templates list --json
    """
    return remote.ask("GET", "/templates", None, as_json, _table)


@templates.command()
@click.argument("name")
@VERSION
@JSON
@asks_server
def show(remote: Remote, name: str, version: int | None, as_json: bool) -> int:
    """All of a template, and the variables that it uses.

    \b
    Examples:
      mailsvc templates show welcome
      mailsvc templates show welcome --version 1
    """
    query = "" if version is None else f"?version={version}"
    return remote.ask("GET", _path(name) + query, None, as_json, _whole)


@templates.command("set")
@click.argument("name")
@takes_parts
@JSON
@asks_server
def put(remote: Remote, name: str, as_json: bool, **given: Any) -> int:
    """Make a new version of a template, or a new template: a subject, and --content, or --html and --text.

    \b
    Examples:
      mailsvc templates set welcome -s 'Welcome, {{ name }}' --content welcome.md
      mailsvc templates set receipt -s 'Your receipt' --html receipt.html --text receipt.txt
    """
    return remote.ask("PUT", _path(name), parts(**given), as_json, lambda kept: f"{name} is version {kept['version']}")


@templates.command()
@click.argument("name")
@JSON
@asks_server
def delete(remote: Remote, name: str, as_json: bool) -> int:
    """Remove a template with all its versions. Mails that were made from it stay as they are.

    \b
    Example:
      mailsvc templates delete welcome
    """
    return remote.ask("DELETE", _path(name), None, as_json, lambda gone: f"{gone['name']} is removed")


@templates.command()
@click.argument("name")
@takes_variables
@VERSION
@takes_parts
@click.option("--show", type=click.Choice(["subject", "text", "html"]), help="This alone. Default: subject and text.")
@JSON
@asks_server
def preview(
    remote: Remote,
    name: str,
    pairs: tuple[str, ...],
    file: IO[str] | None,
    version: int | None,
    show: str | None,
    as_json: bool,
    **given: Any,
) -> int:
    """What a template makes of some variables; with a subject and bodies, of these instead of what is kept.

    \b
    Examples:
      mailsvc templates preview welcome --var name=Ann
      mailsvc templates preview welcome --variables ann.json --show html > welcome.html
      mailsvc templates preview draft -s 'Hi {{ name }}' --content draft.md --var name=Ann
    """
    body = {"variables": variables(pairs, file), **parts(**given)} | ({"version": version} if version else {})

    def words(made: dict[str, Any]) -> str:
        whole = made[show] or "" if show else f"{made['subject']}\n\n{made['text'] or made['html']}"
        return str(whole).removesuffix("\n")

    return remote.ask("POST", f"{_path(name)}/preview", body, as_json, words)


def _path(name: str) -> str:
    return f"/templates/{quote(name, safe='')}"


def _table(answer: dict[str, Any]) -> str:
    from .remote import table  # noqa: PLC0415 - a command pays for its own imports only

    rows = [("template", "version", "since", "subject")]
    rows += [(e["name"], str(e["version"] or "file"), e["created_at"] or "", e["subject"]) for e in answer["data"]]
    return table(rows)


def _whole(template: dict[str, Any]) -> str:
    version = f"version {template['version']}" if template["version"] else "a file"
    lines = [f"{template['name']}, {version}", f"variables  {', '.join(template['variables']) or '-'}"]
    for part in ("subject", "content", "html", "text"):
        if template[part] is not None:
            lines += ["", f"--- {part}", template[part].rstrip("\n")]
    return "\n".join(lines)
