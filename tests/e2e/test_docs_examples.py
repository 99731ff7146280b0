"""Every example of the docs is done as it stands there: what is to be typed, what is to be run, what is shown."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.e2e.process import Mailsvc
from tests.e2e.reader import PAGES, Example, Reader, examples, needs_javascript
from tests.e2e.test_events import listening
from tests.e2e.test_hooks import about, settings, tell
from tests.fakes import FakeProvider
from tests.fakes.application import Application
from tests.providers.hooks import TO
from tests.transcript import Transcript, loose

T = TypeVar("T")
DONE, SHOWN, STREAMED, TEMPLATE = ("console", "sh", "python", "javascript"), "json", "event-stream", "jinja"
DRAWN = "text"  # a picture, or a program's words: nothing that can be done
COMMANDS = ("$ ", "mailsvc ", "curl ", "make ", "python ", "export ", "MAILSVC_")

# What is not done here, by how it begins, and why.
LEFT_OUT: Mapping[str, str] = {
    "make run     #": "the first line of all: CI runs `make test`, and what `make run` installs is a part of that",
    '"""Postino': "tests/contract/test_adding_a_provider.py runs these two files",
    "$ mailsvc crashtest": "takes minutes: tests/e2e/test_crashtest.py runs a shorter one",
    "git push": "needs an account",
    "heroku": "needs an account",
    "dokku": "needs a machine with Dokku",
    "fly": "needs an account",
    "docker": "needs a daemon of Docker",
    ".venv/bin/python -m pytest tests/providers/test_postino.py": "as before: test_adding_a_provider.py",
    "mailsvc send you@example.com --provider": "needs a real one; tests/e2e/test_send_provider.py has fakes",
    "kubectl": "needs a cluster",
    "systemctl": "changes the machine; tests/deploy/test_systemd.py looks at the unit",
}
# Answers that are shown without the command that gets them: what they must look like is compared with a real one.
ANSWERS: Mapping[str, str] = {
    '{"type": "about:blank"': "fault",
    '{"id": "01a2…", "status": "sent"': "mail",
    '{"address": "ann@example.com", "reason"': "suppression",
    '{"type": "mail.delivered"': "told",
    '{"data": [{"id": "msg_': "deliveries",
    '{"status": 422, "code": "invalid", "errors": [{"field": "template.': "template fault",
    '{"counts": {"sent": 239': "counts",
}
# Files that a page shows, and its commands use.
FILES: Mapping[str, str] = {'{"name": "my-outage"': "my-outage.json"}
# Templates that a page shows, with what they are sent with.
TEMPLATES: Mapping[str, dict[str, Any]] = {
    'Hello {{ name|default("there") }}': {
        "order": {"gift": True, "lines": [{"what": "Shoes", "price": 95}, {"what": "Socks", "price": 9.5}]},
        "url": "https://shop.example.com/orders/42",
    },
}
BARE = {"subject": None, "content": None}  # a mail whose template says all
# What stands before and after the programs of a page that are parts of an application.
AROUND: Mapping[tuple[str, str], tuple[str, str]] = {
    ("callbacks.md", "python"): (
        """
import json
kept, work_later = [], print
first_time = lambda number: kept.append(number) is None
""",
        """
headers, body = json.load(open("told.json"))
assert handle(headers, body.encode()) == 204 and kept == [headers["webhook-id"]]
assert handle(headers, body.encode() + b" ") == 401
""",
    ),
    ("callbacks.md", "javascript"): (
        """
import express from "express";
import { readFileSync } from "node:fs";
const app = express(), kept = [], workLater = console.log;
const firstTime = (id) => kept.push(id) > 0;
""",
        """
const [headers, body] = JSON.parse(readFileSync("told.json"));
const server = app.listen(0, "127.0.0.1", async () => {
  const url = `http://127.0.0.1:${server.address().port}/hooks`;
  const answered = async (body) => (await fetch(url, { method: "POST", headers, body })).status;
  const found = [await answered(body), await answered(body + " "), kept.length];
  console.log(found);
  process.exit(String(found) === "204,401,1" ? 0 : 1);
});
""",
    ),
}


def begins(example: Example, table: Mapping[str, T]) -> T | None:
    """What the table says of it."""
    return next((table[start] for start in table if example.text.startswith(start)), None)


def told(page: str, *languages: str) -> list[Example]:
    """The examples of a page that are done here."""
    return [each for each in examples(page) if each.language in languages and not begins(each, LEFT_OUT)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_done_here_or_says_why_not(page: str) -> None:
    for example in examples(page):
        assert example.language in (*DONE, SHOWN, STREAMED, TEMPLATE, DRAWN), f"what is {example.head!r}?"
        if example.language in (SHOWN, TEMPLATE):
            assert begins(example, {**ANSWERS, **FILES, **TEMPLATES}), f"what answer is {example.head!r}?"
        if example.language == DRAWN:
            assert not [line for line in example.text.splitlines() if line.startswith(COMMANDS)]
    fenced = re.sub(r"^ *```.*?^ *```$", "", PAGES[page].read_text(), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"\n\n    .*", fenced) == [], "between fences, with its language"


def test_what_is_said_of_blocks_is_about_blocks_that_there_are() -> None:
    texts = [example.text for page in PAGES for example in examples(page)]

    for start in (*LEFT_OUT, *ANSWERS, *FILES, *TEMPLATES):
        assert any(text.startswith(start) for text in texts), start


@pytest.mark.parametrize("page", [page for page in PAGES if told(page, "console", "sh", "python")])
async def test_who_does_what_a_page_says_sees_what_it_shows(page: str, tmp_path: Path) -> None:
    async with Reader(tmp_path) as reader:
        await prepare(reader, page)
        for example in told(page, "console", "sh", "python"):
            faults = await reader.does(example, *AROUND.get((page, example.language), ()))
            assert not faults, "\n".join([page, example.text, *faults])


@needs_javascript
@pytest.mark.parametrize("page", [page for page in PAGES if told(page, "javascript")])
async def test_the_javascript_of_a_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    async with Reader(tmp_path) as reader:
        await prepare(reader, page)
        for example in told(page, "javascript"):
            faults = await reader.does(example, *AROUND.get((page, example.language), ()))
            assert not faults, "\n".join([page, example.text, *faults])


async def prepare(reader: Reader, page: str) -> None:
    """What a page takes for granted."""
    (reader.folder / "deploy").mkdir()
    for example in examples(page):
        if example.language == SHOWN and (name := begins(example, FILES)):
            (reader.folder / name).write_text(example.text)
    if page in ("callbacks.md", "runbook.md"):
        server = await reader.server()
        _, _, made = await server.call("POST", "/callbacks", json={"url": reader.application.url})
        _, _, test = await server.call("POST", f"/callbacks/{made['id']}/test")
        assert test["status"] == "delivered"
        call = reader.application.calls[0]
        headers = {name: call.headers[name] for name in call.headers if name.startswith(("webhook-", "content-type"))}
        (reader.folder / "told.json").write_text(json.dumps([headers, call.body.decode()]))
        reader.words |= {'"whsec_…"': f'"{made["secret"]}"', " ID ": f" {made['id']} ", " ID\n": f" {made['id']}\n"}


async def test_the_answers_that_are_shown_look_like_real_ones(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill, Application() as application:
        environ = settings(None, "sendgrid", "mandrill", MAILSVC_CALLBACK_ALLOW="127.0.0.1")
        environ |= {"SENDGRID_URL": sendgrid.url, "MANDRILL_URL": mandrill.url}
        async with Mailsvc(tmp_path, **environ) as service:
            sendgrid.fault("answer", status=503)
            real = await answers(service, application)

    for page in PAGES:
        for example in (each for each in examples(page) if each.language == SHOWN):
            name = begins(example, ANSWERS)
            if name:
                faults = Transcript().differences(loose(example.text), real[name], shape=True)
                assert not faults, "\n".join([page, example.text, *faults, json.dumps(real[name])])
        for example in (each for each in examples(page) if each.language == STREAMED):
            for kind, shown in events(example.text):
                faults = Transcript().differences(shown, real[f"event {kind}"], shape=True)
                assert not faults, "\n".join([page, kind, *faults])


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream: each one's name and data."""
    found = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n")]
    assert all(each.keys() == {"event", "id", "data"} for each in found)
    return [(each["event"], loose(each["data"])) for each in found]


async def answers(service: Mailsvc, application: Application) -> dict[str, Any]:
    """Real answers by their names. The first provider is out of order, the second one takes the mail."""
    status, _, fault = await service.call("POST", "/email", json={"to": "ann", "subject": "Hi", "text": "Hi"})
    assert status == fault["status"] == 422
    await kept(service, "welcome", subject="Welcome, {{ name }}", text="Hello {{ name }}")
    welcome = {"name": "welcome", "variables": {"name": "Ann"}}
    mail_id = await service.post(to=TO, template=welcome, tags=["welcome"], metadata={"order": "42"}, **BARE)
    mail = await service.settled(mail_id)
    _, _, callback = await service.call("POST", "/callbacks", json={"url": application.url})
    for number, event in ((1, "delivered"), (2, "hard_bounce")):
        answer = await tell(service, "mandrill", about("mandrill", event, mail["id"], number))
        assert answer == (200, {"new": 1})
    calls = await application.told(2)
    await service.until(mail["id"], "bounced")
    log: dict[str, Any] = {"data": []}
    while not log["data"]:  # the answer comes before the note of it
        _, _, log = await service.call("GET", f"/callbacks/{callback['id']}/deliveries?limit=1&status=delivered")
    _, _, suppressed = await service.call("GET", "/suppressions")
    _, _, counts = await service.call("GET", f"/email/counts?since={mail['created_at']}")
    return {
        "fault": fault,
        "counts": counts,
        "mail": mail,
        "suppression": suppressed["data"][0],
        "told": next(call.event for call in calls if call.event["type"] == "mail.delivered"),
        "deliveries": log,
        "template fault": await templates(service),
        **await stream(service),
    }


async def stream(service: Mailsvc) -> dict[str, Any]:
    """What `GET /events` tells of a mail, of an attempt that begins, and of a provider that is benched."""
    async with listening(service) as listener:
        await service.call("POST", "/providers/sendgrid/resume")  # if the mails before have benched it
        for _ in range(4):
            await service.settled(await service.post())
        found: dict[str, Any] = {}
        async with asyncio.timeout(60):
            while found.keys() < {"mail", "attempt", "provider"}:
                kind, _, data = await listener.any()
                ended = kind == "attempt" and data["outcome"]  # one of before, it may be
                if not ended and (kind != "provider" or data["state"] == "benched"):
                    found[kind] = data
    return {f"event {kind}": data for kind, data in found.items()}


async def kept(service: Mailsvc, name: str, **parts: str) -> None:
    """Keep a template."""
    status, _, answer = await service.call("PUT", f"/templates/{name}", json=parts)
    assert status in (200, 201), answer


async def templates(service: Mailsvc) -> dict[str, Any]:
    """Every template that is shown can be kept and sent; what is answered when a variable is missing."""
    for page in PAGES:
        for example in (each for each in examples(page) if each.language == TEMPLATE):
            await kept(service, "shown", subject="Hi", content=example.text)
            await service.post(template={"name": "shown", "variables": begins(example, TEMPLATES)}, **BARE)
    await kept(service, "price", subject="Hi", text="{% for line in order.lines %}{{ line.price }}{% endfor %}")
    variables = {"order": {"lines": [{"price": 95}, {}]}}
    mail = {"to": TO, "template": {"name": "price", "variables": variables}}
    _, _, fault = await service.call("POST", "/email", json=mail)
    assert fault["errors"][0]["field"] == "template.variables.order.lines[1].price"
    return dict(fault)
