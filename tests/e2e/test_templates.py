"""Templates over HTTP: kept in versions or as files, tried out, sent, and of no use to do harm with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Mailsvc, run
from tests.e2e.test_keys import FIRST, bearer, made

PARTS = {"subject": "Welcome, {{ name }}", "content": "Hello **{{ name }}**\n"}
TO = {"to": "ann@example.com"}


def use(name: str = "welcome", **more: Any) -> dict[str, Any]:
    return TO | {"template": {"name": name, "variables": {"name": "Ann"}} | more}


async def put(service: Mailsvc, name: str = "welcome", **parts: Any) -> Any:
    status, _, body = await service.call("PUT", f"/templates/{name}", json=parts or PARTS)
    assert status == 200, body
    return body


async def refused(service: Mailsvc, method: str, path: str, body: Any) -> list[tuple[str, str]]:
    status, headers, told = await service.call(method, path, json=body)
    assert (status, headers["Content-Type"]) == (422, "application/problem+json"), told
    return [(fault["field"], fault["code"]) for fault in told["errors"]]


async def body_of(service: Mailsvc, mail_id: str) -> str:
    """The HTML of a mail as the sandbox's inbox shows it."""
    status, _, html = await service.call("GET", f"/mail/{mail_id}/html")
    assert status == 200
    return str(html)


async def test_a_mail_is_made_from_a_template_and_stays_as_it_was_made(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        kept = await put(service)
        status, headers, added = await service.call("POST", "/email", json=use(variables={"name": "*Ann* <b>"}))
        await put(service, subject="Other", text="other")
        mail = await service.settled(added["id"])
        html = await body_of(service, added["id"])
        pinned = await service.mail(await _sent(service, use(version=1)))
        newest = await service.mail(await _sent(service, use()))

    assert (kept["version"], kept["source"], kept["variables"]) == (1, "api", ["name"])
    assert (status, headers["Location"]) == (202, f"/email/{added['id']}")
    assert (mail["status"], mail["subject"], mail["template"]) == (
        "sent",
        "Welcome, *Ann* <b>",
        {"name": "welcome", "version": 1},
    )
    assert "<p>Hello <strong>*Ann* &lt;b&gt;</strong></p>" in html
    assert (pinned["subject"], pinned["template"]["version"]) == ("Welcome, Ann", 1)
    assert (newest["subject"], newest["template"]["version"]) == ("Other", 2)


async def _sent(service: Mailsvc, mail: dict[str, Any]) -> str:
    status, _, added = await service.call("POST", "/email", json=mail)
    assert status == 202, added
    return str(added["id"])


async def test_versions_are_read_listed_and_removed(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        await put(service)
        same = await put(service)
        await put(service, subject="Newer", html="<p>{{ x.y }}</p>", text="t")
        old = await service.call("GET", "/templates/welcome?version=1")
        new = await service.call("GET", "/templates/welcome")
        listed = await service.call("GET", "/templates")
        none = [await service.call("GET", f"/templates/{path}") for path in ("other", "welcome?version=9", "%00")]
        bad = await service.call("GET", "/templates/welcome?version=x")
        removed = [await service.call("DELETE", "/templates/welcome") for _ in range(2)]
        gone = await service.call("GET", "/templates/welcome?version=1")
        again = await put(service)

    assert same["version"] == 1
    assert (old[2]["subject"], old[2]["content"], old[2]["html"]) == (PARTS["subject"], PARTS["content"], None)
    assert (new[2]["version"], new[2]["content"], new[2]["variables"]) == (2, None, ["x"])
    assert [(each["name"], each["version"]) for each in listed[2]["data"]] == [("welcome", 2)]
    assert [status for status, _, _ in none] == [404] * 3
    assert bad[0] == 422
    assert [status for status, _, _ in removed] == [200, 404]
    assert gone[0] == 404
    assert again["version"] == 4


async def test_a_preview_and_a_dry_run_show_what_would_be_sent(tmp_path: Path) -> None:
    variables = {"name": "<Ann>"}
    async with Mailsvc(tmp_path) as service:
        await put(service)
        _, _, shown = await service.call("POST", "/templates/welcome/preview", json={"variables": variables})
        _, _, tried = await service.call("POST", "/email", json=use(variables=variables) | {"dry_run": True})
        own = {"subject": "S {{ name }}", "html": "<i>{{ name }}</i>", "variables": variables}
        status, _, unsaved = await service.call("POST", "/templates/nothing/preview", json=own)
        faults = await refused(service, "POST", "/templates/welcome/preview", {"variables": {}})
        missing = await service.call("POST", "/templates/nothing/preview", json={})
        _, _, listed = await service.call("GET", "/email")

    assert (shown["subject"], shown["text"]) == ("Welcome, <Ann>", "Hello **<Ann>**\n")
    assert "<title>Welcome, &lt;Ann&gt;</title>" in shown["html"]
    assert {name: tried[name] for name in ("subject", "html", "text")} == {
        name: shown[name] for name in ("subject", "html", "text")
    }
    assert (status, unsaved["subject"], unsaved["html"], unsaved["text"], unsaved["version"]) == (
        200,
        "S <Ann>",
        "<i>&lt;Ann&gt;</i>",
        None,
        None,
    )
    assert faults == [("variables.name", "missing")]
    assert missing[0] == 404
    assert listed["data"] == []


async def test_what_is_wrong_with_a_mail_is_named_with_its_variable(tmp_path: Path) -> None:
    order = "{% for line in order.lines %}{{ line.price }}{% endfor %}"
    async with Mailsvc(tmp_path) as service:
        await put(service, "order", subject="Order {{ order.number }}", text=order)
        good = {"order": {"number": 1, "lines": [{"price": 1}]}}

        async def faults(**changes: Any) -> list[tuple[str, str]]:
            return await refused(service, "POST", "/email", use("order", variables=good) | changes)

        def given(**variables: Any) -> dict[str, Any]:
            return {"name": "order", "variables": variables}

        assert await faults(template=given()) == [("template.variables.order", "missing")]
        lines = given(order={"number": 1, "lines": [{"price": 1}, {}]})
        assert await faults(template=lines) == [("template.variables.order.lines[1].price", "missing")]
        assert await faults(template=given(order={"number": "a\nb", "lines": []})) == [
            ("template", "control_character")
        ]
        assert await faults(template=given(order={"number": "a" * 999, "lines": [{"price": 1}]})) == [
            ("template", "too_long")
        ]
        assert await faults(template={"name": "none"}) == [("template.name", "unknown_template")]
        assert await faults(template={"name": "order", "version": 2}) == [("template.version", "unknown_template")]
        assert await faults(template={}) == [("template.name", "missing")]
        assert await faults(template={"name": "a b"}) == [("template.name", "invalid")]
        assert await faults(template={"name": "order", "x": 1}) == [("template.x", "unknown_field")]
        assert await faults(template={"name": "order", "variables": []}) == [("template.variables", "type_error")]
        assert await faults(template={"name": "order", "version": "1"}) == [("template.version", "type_error")]
        assert await faults(template="order") == [("template", "type_error")]
        assert await faults(subject="Hi", html="x") == [("subject", "exclusive"), ("html", "exclusive")]
        assert await refused(service, "POST", "/email", TO) == [("subject", "missing"), ("content", "missing")]


@pytest.mark.parametrize(
    ("parts", "field", "code"),
    [
        ({}, "subject", "missing"),
        ({"subject": "x"}, "content", "missing"),
        ({"subject": "x", "content": "x", "html": "x"}, "content", "exclusive"),
        ({"subject": "", "text": "x"}, "subject", "invalid"),
        ({"subject": "x", "text": 1}, "text", "invalid"),
        ({"subject": "x", "text": "x", "name": "x"}, "name", "unknown_field"),
        ({"subject": "{{ x", "text": "x"}, "subject", "syntax"),
        ({"subject": "x", "text": "a\n{% include '/etc/passwd' %}"}, "text", "syntax"),
        ({"subject": "x", "html": "{{ ''.__class__ }}"}, "html", "syntax"),
    ],
)
async def test_a_faulty_template_is_refused_and_names_the_part(
    tmp_path: Path, parts: dict[str, Any], field: str, code: str
) -> None:
    async with Mailsvc(tmp_path) as service:
        assert await refused(service, "PUT", "/templates/x", parts) == [(field, code)]
        assert await refused(service, "PUT", "/templates/-", PARTS) == [("name", "invalid")]


async def test_a_repeated_request_gets_its_first_answer_whatever_became_of_the_template(tmp_path: Path) -> None:
    key = {"Idempotency-Key": "order-1"}
    async with Mailsvc(tmp_path) as service:
        await put(service)
        first = await service.call("POST", "/email", json=use(), headers=key)
        batch = await service.call("POST", "/email/batch", json=[use()], headers={"Idempotency-Key": "batch"})
        await put(service, subject="Other {{ more }}", text="x")
        changed = await service.call("POST", "/email", json=use(), headers=key)
        await service.call("DELETE", "/templates/welcome")
        gone = await service.call("POST", "/email", json=use(), headers=key)
        again = await service.call("POST", "/email/batch", json=[use()], headers={"Idempotency-Key": "batch"})
        other = await service.call("POST", "/email", json=use(variables={"name": "Bob"}), headers=key)
        unknown = await service.call("POST", "/email", json=use(), headers={"Idempotency-Key": "another"})

    assert first[0] == 202
    assert [(each[0], each[2], each[1].get("Idempotent-Replayed")) for each in (changed, gone)] == [
        (202, first[2], "true")
    ] * 2
    assert (again[0], again[2], again[1].get("Idempotent-Replayed")) == (202, batch[2], "true")
    assert (other[0], other[2]["code"]) == (422, "idempotency_key_reused")
    assert (unknown[0], unknown[2]["errors"][0]["field"]) == (422, "template.name")


async def test_a_batch_takes_those_whose_variables_are_there(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        await put(service)
        status, _, body = await service.call("POST", "/email/batch", json=[use(), use(variables={}), use()])
        subjects = {(await service.mail(row["id"]))["subject"] for row in body["data"] if "id" in row}

    assert status == 202
    assert [row.get("error", {}).get("errors", [{}])[0].get("field") for row in body["data"]] == [
        None,
        "template.variables.name",
        None,
    ]
    assert subjects == {"Welcome, Ann"}


def lay(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir(parents=True)
    for file, text in files.items():
        (folder / name / file.replace("_", ".")).write_text(text)


async def test_files_are_templates_that_nobody_changes_here(tmp_path: Path) -> None:
    folder = tmp_path / "mails"
    async with Mailsvc(tmp_path) as service:
        await put(service)
    lay(folder, "welcome", subject_txt="From a file, {{ name }}\n", content_md="Hi")
    async with Mailsvc(tmp_path, MAILSVC_TEMPLATES=str(folder)) as service:
        _, _, shown = await service.call("GET", "/templates/welcome")
        changed = await service.call("PUT", "/templates/welcome", json=PARTS)
        removed = await service.call("DELETE", "/templates/welcome")
        old = await service.call("GET", "/templates/welcome?version=1")
        mail = await service.mail(await _sent(service, use()))
        _, _, listed = await service.call("GET", "/templates")

    assert (shown["source"], shown["version"], shown["created_at"], shown["variables"]) == (
        "file",
        None,
        None,
        ["name"],
    )
    assert [(each[0], each[2]["code"]) for each in (changed, removed)] == [(409, "read_only")] * 2
    assert old[0] == 404
    assert (mail["subject"], mail["template"]) == ("From a file, Ann", {"name": "welcome", "version": None})
    assert [(each["name"], each["source"]) for each in listed["data"]] == [("welcome", "file")]


@pytest.mark.sqlite
async def test_faulty_files_end_the_start_with_every_fault(tmp_path: Path) -> None:
    lay(tmp_path / "mails", "a", subject_txt="{{ x", text_txt="x")
    lay(tmp_path / "mails", "b", subject_txt="x", text_txt="{% include 'x' %}")
    code, _, told = await run(tmp_path, "serve", MAILSVC_TEMPLATES=str(tmp_path / "mails"))
    nowhere, _, why = await run(tmp_path, "serve", MAILSVC_TEMPLATES=str(tmp_path / "none"))

    assert (code, nowhere) == (78, 78)
    assert "a: subject line 1" in told
    assert "b: text line 1: there is no {% include %} here" in told
    assert "cannot be read" in why


async def test_keys_read_send_and_change_templates_as_far_as_they_may(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        admin = bearer(FIRST)
        await service.call("PUT", "/templates/welcome", json=PARTS, headers=admin)
        reads, _ = await made(service, name="reads", scopes=["read"])
        sends, _ = await made(service, name="sends", scopes=["send"])
        path = "/templates/welcome"

        async def status(key: str, method: str, where: str, body: Any = None) -> int:
            return (await service.call(method, where, json=body, headers=bearer(key)))[0]

        found = [
            await status(reads, "GET", path),
            await status(reads, "POST", f"{path}/preview", {"variables": {"name": "Ann"}}),
            await status(reads, "POST", f"{path}/preview", PARTS | {"variables": {"name": "Ann"}}),
            await status(reads, "PUT", path, PARTS),
            await status(reads, "DELETE", path),
            await status(sends, "GET", path),
            await status(sends, "POST", "/email", use()),
            (await service.call("GET", "/templates"))[0],
        ]

    assert found == [200, 200, 403, 403, 403, 403, 202, 401]


async def test_a_template_that_never_ends_holds_up_nobody_else(tmp_path: Path) -> None:
    endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    async with Mailsvc(tmp_path) as service:
        await put(service)
        body = {"subject": "x", "text": endless}
        hostile = asyncio.create_task(service.call("POST", "/templates/x/preview", json=body))
        healthy = 0
        while not hostile.done():
            assert (await service.call("GET", "/healthz"))[0] == 200
            healthy += 1
        status, _, told = await hostile
        sent = await service.settled(await _sent(service, use()))

    assert (status, told["errors"][0]["code"]) == (422, "too_costly")
    assert healthy > 5
    assert sent["status"] == "sent"
