"""Bad input gets a clear error naming the field, never a 500, and nothing is stored."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import FORM, Mailsvc

JSON = {"Content-Type": "application/json"}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
ADDRESSES = [
    "a@x.test,b@y.test",
    "a@x.test;b@y.test",
    "a@x.test <b@y.test>",
    "group:a@x,b@y;",
    "<a@x>",
    "a b@x.test",
    "@x.test",
    "a@x..test",
    "a\x00@x.test",
    "l" * 65 + "@x.test",
    "a@" + "d" * 255,
    "a@localhost",
    "a@[127.0.0.1]",
    "üser@x.test",
]
CONTROL = ["\r\n", "\n", "\r", "\x00", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"]

BODIES: list[tuple[str, dict[str, str], bytes, int, str]] = [
    ("no JSON", JSON, b"{", 400, "malformed_json"),
    ("empty JSON", JSON, b"", 400, "malformed_json"),
    ("deep JSON", JSON, b"[" * 100_000 + b"]" * 100_000, 400, "malformed_json"),
    ("deep object", JSON, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "malformed_json"),
    ("NaN", JSON, b'{"to": NaN}', 400, "malformed_json"),
    ("BOM", JSON, b"\xef\xbb\xbf{}", 400, "malformed_json"),
    ("UTF-16", JSON, json.dumps(FORM).encode("utf-16"), 400, "malformed_json"),
    ("invalid UTF-8", JSON, b'{"to": "\xff"}', 400, "malformed_json"),
    ("lone surrogate", JSON, b'{"to": "a@b.co", "subject": "\\ud800", "content": "x"}', 400, "malformed_json"),
    ("array", JSON, b"[]", 422, "invalid"),
    ("null", JSON, b"null", 422, "invalid"),
    ("number", JSON, b"5", 422, "invalid"),
    ("a huge number", JSON, b'{"to": ' + b"9" * 5000 + b"}", 400, "malformed_json"),
    ("1e999", JSON, b'{"to": 1e999}', 400, "malformed_json"),
    ("empty object", JSON, b"{}", 422, "invalid"),
    ("JSON as text", {"Content-Type": "text/plain"}, json.dumps(FORM).encode(), 415, "unsupported_media_type"),
    ("JSON as a form", URLENCODED, json.dumps(FORM).encode(), 415, "unsupported_media_type"),
    ("JSON in UTF-16", {"Content-Type": "application/json; charset=utf-16"}, b"{}", 415, "unsupported_media_type"),
    ("compressed", JSON | {"Content-Encoding": "gzip"}, b"\x1f\x8b", 415, "unsupported_media_type"),
    (
        "an encoded parameter",
        {"Content-Type": "application/json; charset*=utf-16''x"},
        b"{}",
        415,
        "unsupported_media_type",
    ),
    ("an encoded boundary", {"Content-Type": "multipart/form-data; boundary*=utf-8''x"}, b"y", 400, "malformed_body"),
    ("XML", {"Content-Type": "application/xml"}, b"<a/>", 415, "unsupported_media_type"),
    ("odd type", {"Content-Type": ";;;=\x80"}, b"x", 415, "unsupported_media_type"),
    ("no fields", URLENCODED, b"", 422, "invalid"),
    ("many fields", URLENCODED, b"a=1&" * 10_000, 422, "invalid"),
    ("invalid UTF-8 in a form", URLENCODED, b"to=a@b.co&subject=%ff&content=x", 422, "invalid"),
    ("raw bytes in a form", URLENCODED, b"to=a@b.co&subject=\xff&content=x", 422, "invalid"),
    ("no boundary", {"Content-Type": "multipart/form-data"}, b"x", 400, "malformed_body"),
    ("no part", {"Content-Type": "multipart/form-data; boundary=x"}, b"y", 400, "malformed_body"),
    (
        "many parts",
        {"Content-Type": "multipart/form-data; boundary=x"},
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 101 + b"--x--\r\n",
        400,
        "malformed_body",
    ),
    (
        "a file",
        {"Content-Type": "multipart/form-data; boundary=x"},
        b'--x\r\nContent-Disposition: form-data; name="to"; filename="a"\r\n\r\na@b.co\r\n--x--\r\n',
        422,
        "invalid",
    ),
    ("too large", JSON, b'{"content": "' + b"x" * (25 * 1024 * 1024) + b'"}', 413, "too_large"),
    ("much too large", URLENCODED, b"content=" + b"x" * (28 * 1024 * 1024), 413, "too_large"),
]


def _problem(status: int, headers: Mapping[str, str], body: Any) -> None:
    """Every error has the same shape."""
    assert headers["Content-Type"] == "application/problem+json"
    assert sorted(body) == ["code", "detail", "errors", "request_id", "status", "title", "type"]
    assert (body["type"], body["status"]) == ("about:blank", status)
    assert headers["X-Request-Id"] == body["request_id"]


async def test_bodies_that_cannot_be_read_are_refused_and_the_server_stays_up(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        for name, headers, data, status, code in BODIES:
            answer = await service.call("POST", "/email", data=BytesIO(data), headers=headers)
            assert (name, answer[0], answer[2]["code"]) == (name, status, code)
            _problem(*answer)
        _, _, stored = await service.call("GET", "/email")
        alive = await service.post()

    assert stored["data"] == []
    assert alive
    assert not any('"level":"error"' in line for line in service.log)


async def test_faults_are_named_by_their_field_and_nothing_is_stored(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        for address in ADDRESSES:
            for to in (address, ["ok@example.com", address]):
                answer = await service.call("POST", "/email", json=FORM | {"to": to})
                field = "to" if isinstance(to, str) else "to[1]"
                assert (answer[0], [error["field"] for error in answer[2]["errors"]]) == (422, [field]), address
        for character in CONTROL:
            for field in ("subject", "to_name", "from", "to"):
                text = f"a{character}b" if field in ("subject", "to_name") else f"A{character} <a@b.co>"
                answer = await service.call("POST", "/email", json=FORM | {field: text})
                assert (answer[0], [error["field"] for error in answer[2]["errors"]]) == (422, [field]), repr(text)
        for field in ("status", "id", "provider", "sender", "bcc\r\nx", "__class__", "é"):
            answer = await service.call("POST", "/email", json=FORM | {field: "x"})
            assert (answer[0], answer[2]["errors"][0]["code"]) == (422, "unknown_field")
            _problem(*answer)
        twice = await service.call(
            "POST", "/email", data=b"to=a@b.co&subject=a&subject=b&content=c", headers=URLENCODED
        )
        _, _, stored = await service.call("GET", "/email")

    assert [(e["field"], e["code"]) for e in twice[2]["errors"]] == [("subject", "repeated")]
    assert stored["data"] == []


async def test_hostile_markdown_is_refused_or_rendered_and_others_are_served_meanwhile(tmp_path: Path) -> None:
    hostile = {
        ">" * 100_000: 422,
        "[" * 20_000: 202,
        "![[](" * 5_000: 202,
        "".join("  " * depth + "- a\n" for depth in range(500)): 422,
    }
    async with Mailsvc(tmp_path) as service:
        for content, expected in hostile.items():
            status, _, body = await service.call("POST", "/email", json=FORM | {"content": content})
            assert status == expected
            if status == 422:
                assert body["errors"][0]["field"] == "content"
            else:
                assert (await service.settled(body["id"]))["status"] == "sent"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=٣", "limit"),
        ("status=lost", "status"),
        ("after=x", "after"),
        ("color=red", "color"),
        ("to=%00", "to"),
        ("to=%ff", "to"),
    ],
)
async def test_bad_questions_are_refused_by_parameter(tmp_path: Path, query: str, field: str) -> None:
    async with Mailsvc(tmp_path) as service:
        answer = await service.call("GET", f"/email?{query}")

    assert (answer[0], answer[2]["errors"][0]["field"]) == (422, field)


async def test_unknown_malformed_and_odd_ids_get_the_same_404(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        bodies = []
        for mail_id in (
            "01a20c4f-9f14-7ca9-806c-59d8f7b56a5f",
            "x",
            "%00",
            "a" * 2000,
            "'; drop table mail; --",
            "%ff",
        ):
            status, headers, body = await service.call("GET", f"/email/{mail_id}")
            assert status == 404 or (mail_id == "%ff" and status == 400)
            _problem(status, headers, body)
            if status == 404:
                bodies.append({name: value for name, value in body.items() if name != "request_id"})
        wait = await service.call("GET", "/email/x?wait=forever")
        timeout = await service.call("GET", "/email/x?wait=settled&timeout=61")

    assert all(body == bodies[0] for body in bodies)
    assert (wait[0], wait[2]["errors"][0]["field"]) == (422, "wait")
    assert (timeout[0], timeout[2]["errors"][0]["field"]) == (422, "timeout")


async def test_an_idempotency_key_must_be_printable_and_short(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        for key in ("", "k" * 257, "é"):
            answer = await service.call("POST", "/email", json=FORM, headers={"Idempotency-Key": key})
            assert (answer[0], answer[2]["errors"][0]["field"]) == (422, "Idempotency-Key")
        longest = await service.call("POST", "/email", json=FORM, headers={"Idempotency-Key": "k" * 256})

    assert longest[0] == 202


async def test_methods_and_paths_that_are_not_there_say_what_is(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        method = await service.call("DELETE", "/email")
        path = await service.call("GET", "/emails")

    assert (method[0], method[1]["Allow"], method[2]["code"]) == (405, "GET, POST", "method_not_allowed")
    assert (path[0], path[2]["code"]) == (404, "not_found")
