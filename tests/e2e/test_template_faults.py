"""Templates over HTTP: what is wrong is named, keys do what they may, and a hostile template holds up nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.e2e.process import Mailsvc, run
from tests.e2e.test_keys import FIRST, bearer, made
from tests.e2e.test_templates import PARTS, TO, lay, put, refused, sent, use


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


FAULTY: list[tuple[dict[str, Any], str, str]] = [
    ({}, "subject", "missing"),
    ({"subject": "x"}, "content", "missing"),
    ({"subject": "x", "content": "x", "html": "x"}, "content", "exclusive"),
    ({"subject": "", "text": "x"}, "subject", "invalid"),
    ({"subject": "x", "text": 1}, "text", "invalid"),
    ({"subject": "x", "text": "x", "name": "x"}, "name", "unknown_field"),
    ({"subject": "{{ x", "text": "x"}, "subject", "syntax"),
    ({"subject": "x", "text": "a\n{% include '/etc/passwd' %}"}, "text", "syntax"),
    ({"subject": "x", "html": "{{ ''.__class__ }}"}, "html", "syntax"),
]


async def test_a_faulty_template_is_refused_and_names_the_part(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        for parts, field, code in FAULTY:
            assert await refused(service, "PUT", "/templates/x", parts) == [(field, code)], parts
        assert await refused(service, "PUT", "/templates/-", PARTS) == [("name", "invalid")]
        _, _, listed = await service.call("GET", "/templates")

    assert listed["data"] == []


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
        mail = await service.settled(await sent(service, use()))

    assert (status, told["errors"][0]["code"]) == (422, "too_costly")
    assert healthy > 5
    assert mail["status"] == "sent"
