"""The command line against a running server: templates are made, looked at, tried out, sent and removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.process import Mailsvc, run
from tests.e2e.test_keys import FIRST

SANDBOX = {"MAILSVC_CAPTURE": "1", "MAILSVC_API_KEY": FIRST}


async def told(service: Mailsvc, *arguments: str, code: int = 0, stdin: str = "") -> str:
    """What a command prints."""
    settings = {"MAILSVC_URL": service.url, "MAILSVC_API_KEY": FIRST}
    done, out, err = await run(service.folder, *arguments, stdin=stdin, within=40, **settings)
    assert done == code, (out, err)
    return out + err


async def as_json(service: Mailsvc, *arguments: str) -> Any:
    return json.loads(await told(service, *arguments, "--json"))


async def test_a_template_is_made_looked_at_tried_out_sent_and_removed(tmp_path: Path) -> None:
    (tmp_path / "welcome.md").write_text("Hello **{{ name }}**\n")
    (tmp_path / "ann.json").write_text('{"name": "Ann", "n": 2}')
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        made = await told(service, "templates", "set", "welcome", "-s", "Hi {{ name }}", "--content", "welcome.md")
        newer = await told(
            service, "templates", "set", "welcome", "-s", "Ho {{ n }}", "--content", "-", stdin="Hello **{{ name }}**"
        )
        listed = await told(service, "templates")
        old = await as_json(service, "templates", "show", "welcome", "--version", "1")
        shown = await told(service, "templates", "show", "welcome")
        preview = await told(service, "templates", "preview", "welcome", "--variables", "ann.json", "--var", "n=3")
        html = await told(service, "templates", "preview", "welcome", "--variables", "ann.json", "--show", "html")
        draft = await told(
            service, "templates", "preview", "x", "-s", "{{ a }}", "--text", "welcome.md", "--var", "a=b", code=1
        )
        sent = await told(
            service, "send", "ann@example.com", "--template", "welcome", "--variables", "ann.json", "--wait"
        )
        first = ("--template-version", "1", "--var", "name=Bob")
        pinned = await as_json(service, "send", "ann@example.com", "--template", "welcome", *first, "--wait")
        missing = await told(service, "send", "ann@example.com", "--template", "welcome", code=1)
        removed = await told(service, "templates", "delete", "welcome")
        gone = await told(service, "templates", "show", "welcome", code=1)

    assert (made, newer) == ("welcome is version 1\n", "welcome is version 2\n")
    assert listed.splitlines()[1].split()[:2] == ["welcome", "2"]
    assert (old["subject"], old["content"]) == ("Hi {{ name }}", "Hello **{{ name }}**\n")
    assert "variables  n, name" in shown
    assert preview == "Ho 3\n\nHello **Ann**\n"
    assert "<strong>Ann</strong>" in html
    assert "variables.name: is needed" in draft
    assert "capture accepted" in sent
    assert (pinned["subject"], pinned["template"]) == ("Hi Bob", {"name": "welcome", "version": 1})
    assert "template.variables.n: is needed" in missing
    assert removed == "welcome is removed\n"
    assert "no template" in gone


async def test_what_is_wrong_with_a_command_is_told_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xff")
    (tmp_path / "list.json").write_text("[]")
    told = [
        await run(tmp_path, "templates", "preview", "x", "--var", "name"),
        await run(tmp_path, "templates", "preview", "x", "--variables", "list.json"),
        await run(tmp_path, "templates", "preview", "x", "--variables", "latin.txt"),
        await run(tmp_path, "templates", "set", "x", "-s", "x", "--text", "latin.txt"),
        await run(tmp_path, "send", "a@example.com", "--template", "x", "--provider", "smtp"),
        await run(tmp_path, "send", "a@example.com"),
    ]

    assert [code for code, _, _ in told] == [2] * 6
    for (_, _, words), part in zip(
        told, ("NAME=TEXT", "object", "JSON", "UTF-8", "--provider", "--template"), strict=True
    ):
        assert part in words
