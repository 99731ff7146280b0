"""The command line against a running server: templates are made, looked at, tried out, sent and removed."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.process import Mailsvc, run
from tests.e2e.test_keys import FIRST

SANDBOX = {"MAILSVC_CAPTURE": "1", "MAILSVC_API_KEY": FIRST}


async def told(service: Mailsvc, *arguments: str, code: int = 0, stdin: str = "") -> str:
    """What a command prints."""
    settings = {"MAILSVC_URL": service.url, "MAILSVC_API_KEY": FIRST}
    done, out, err = await run(service.folder, *arguments, stdin=stdin, within=40, **settings)
    assert done == code, (out, err)
    return out + err


async def test_a_template_is_made_looked_at_tried_out_and_removed(tmp_path: Path) -> None:
    (tmp_path / "welcome.md").write_text("Hello **{{ name }}**\n")
    (tmp_path / "ann.json").write_text('{"name": "Ann", "n": 2}')
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        made = await told(service, "templates", "set", "welcome", "-s", "Hi {{ n }}", "--content", "welcome.md")
        listed = await told(service, "templates")
        shown = await told(service, "templates", "show", "welcome", "--version", "1")
        preview = await told(service, "templates", "preview", "welcome", "--variables", "ann.json", "--var", "n=3")
        draft = ("templates", "preview", "x", "-s", "{{ a }}", "--text", "-", "--var", "a=b")
        missing = await told(service, *draft, code=1, stdin="{{ name }}")
        removed = await told(service, "templates", "delete", "welcome")

    assert made == "welcome is version 1\n"
    assert listed.splitlines()[1].split()[:2] == ["welcome", "1"]
    assert "variables  n, name" in shown
    assert preview == "Hi 3\n\nHello **Ann**\n"
    assert "variables.name: is needed" in missing
    assert removed == "welcome is removed\n"


async def test_a_mail_is_sent_by_a_template(tmp_path: Path) -> None:
    key = {"Authorization": f"Bearer {FIRST}"}
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        for subject in ("Hi {{ name }}", "Ho"):
            await service.call("PUT", "/templates/welcome", json={"subject": subject, "text": "x"}, headers=key)
        command = ("send", "ann@example.com", "--template", "welcome", "--template-version", "1")
        sent = json.loads(await told(service, *command, "--var", "name=Bob", "--wait", "--json"))
        shown = await told(service, "mails", "show", sent["id"])
        missing = await told(service, *command, code=1)

    assert "template welcome, version 1" in shown
    assert (sent["subject"], sent["template"]) == ("Hi Bob", {"name": "welcome", "version": 1})
    assert "template.variables.name: is needed" in missing
