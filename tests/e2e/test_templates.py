"""Templates over HTTP: kept in versions or as files, tried out and sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.process import Mailsvc

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
        page = (await service.call("GET", f"/mail/{added['id']}"))[2]
        pinned = await service.mail(await sent(service, use(version=1)))
        newest = await service.mail(await sent(service, use()))

    assert (kept["version"], kept["source"], kept["variables"]) == (1, "api", ["name"])
    assert (status, headers["Location"]) == (202, f"/email/{added['id']}")
    assert (mail["status"], mail["subject"], mail["template"]) == (
        "sent",
        "Welcome, *Ann* <b>",
        {"name": "welcome", "version": 1},
    )
    assert "<p>Hello <strong>*Ann* &lt;b&gt;</strong></p>" in html
    assert "<bdi>welcome</bdi></a>, version 1" in page
    assert (pinned["subject"], pinned["template"]["version"]) == ("Welcome, Ann", 1)
    assert (newest["subject"], newest["template"]["version"]) == ("Other", 2)


async def sent(service: Mailsvc, mail: dict[str, Any]) -> str:
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
        mail = await service.mail(await sent(service, use()))
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
