"""The suppression list over HTTP: by hand and by CSV, and what becomes of mails to those on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.e2e.process import FORM, ROOT, Mailsvc

KEY = "a-key-nobody-can-guess-0123456789"
CSV = {"Content-Type": "text/csv"}


async def post(service: Mailsvc, **changes: Any) -> Any:
    status, _, added = await service.call("POST", "/email", json=FORM | changes)
    assert status == 202, added
    return (await service.call("GET", f"/email/{added['id']}?wait=settled"))[2]


async def test_a_mail_to_a_suppressed_address_goes_nowhere_and_says_why(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        status, _, entry = await service.call("POST", "/suppressions", json={"address": "Ann@Example.com"})
        assert (status, entry["reason"], entry["source"], entry["expires_at"]) == (201, "manual", "api", None)

        alone = await post(service, to="ann@example.com")
        mixed = await post(service, to=["ann@example.com", "bob@example.com"])
        forced = await post(service, to="ann@example.com", ignore_suppression=True)
        removed = await service.call("DELETE", "/suppressions/ann%40example.com")
        again = await service.call("DELETE", "/suppressions/ann@example.com")
        after = await post(service, to="ann@example.com")

    assert (alone["status"], alone["attempts"]) == ("suppressed", [])
    assert "suppression list" in alone["error"]
    assert alone["events"][0]["type"] == "suppressed"
    assert mixed["status"] == "sent"
    assert [each["status"] for each in mixed["recipients"]] == ["suppressed", "sent"]
    assert (forced["status"], after["status"]) == ("sent", "sent")
    assert (removed[0], again[0], again[2]["code"]) == (200, 404, "not_found")


async def test_the_list_goes_out_and_in_as_csv(tmp_path: Path) -> None:
    lines = "address,reason,expires_at\n+ann@example.com,=1+1,\nbob@example.com,,2199-01-01T00:00:00Z\n"
    async with Mailsvc(tmp_path) as service:
        assert (await service.call("POST", "/suppressions", data=lines, headers=CSV))[::2] == (201, {"stored": 2})
        async with service.http.get(f"{service.url}/suppressions", headers={"Accept": "text/csv"}) as answer:
            text = await answer.text()
        for address in ("%2Bann@example.com", "bob@example.com"):
            assert (await service.call("DELETE", f"/suppressions/{address}"))[0] == 200
        assert (await service.call("POST", "/suppressions", data=text, headers=CSV))[::2] == (201, {"stored": 2})
        _, _, page = await service.call("GET", "/suppressions?limit=1")
        _, _, rest = await service.call("GET", f"/suppressions?after={page['data'][0]['address'].replace('+', '%2B')}")

    assert "'=1+1" in text
    assert (page["data"][0]["address"], page["data"][0]["reason"], page["has_more"]) == (
        "+ann@example.com",
        "=1+1",
        True,
    )
    assert [(each["address"], each["expires_at"]) for each in rest["data"]] == [
        ("bob@example.com", "2199-01-01T00:00:00.000Z")
    ]


async def test_an_address_is_found_and_removed_as_it_was_written(tmp_path: Path) -> None:
    written = "Ann@Bücher.example"
    async with Mailsvc(tmp_path) as service:
        _, _, entry = await service.call("POST", "/suppressions", json={"address": written})
        _, _, found = await service.call("GET", "/suppressions", params={"address": written})
        removed = await service.call("DELETE", f"/suppressions/{quote(written)}")
        rest = await service.call("DELETE", "/suppressions/nobody")

    assert entry["address"] == "ann@xn--bcher-kva.example"
    assert found["data"] == [entry]
    assert (removed[0], removed[2]["address"], rest[0]) == (200, entry["address"], 404)


async def test_entries_that_have_ended_are_left_out_of_a_csv(tmp_path: Path) -> None:
    lines = "address,expires_at\nann@example.com,2020-01-01T00:00:00Z\nbob@example.com,2199-01-01T00:00:00Z\n"
    async with Mailsvc(tmp_path) as service:
        stored = await service.call("POST", "/suppressions", data=lines, headers=CSV)
        none = await service.call("POST", "/suppressions", data=lines.partition("bob")[0], headers=CSV)
        packed = await service.call("POST", "/suppressions", data=lines, headers=CSV | {"Content-Encoding": "gzip"})
        _, _, page = await service.call("GET", "/suppressions")

    assert (stored[2], none[2], packed[0]) == ({"stored": 1}, {"stored": 0}, 415)
    assert [each["address"] for each in page["data"]] == ["bob@example.com"]


TROUBLE = """
from mailsvc.errors import StorageUnavailable
from mailsvc.outbox.postgres.suppressions import PostgresSuppressions
from mailsvc.outbox.sqlite.suppressions import SqliteSuppressions

def break_off(store):
    whole = store.list

    async def broken(self, after, limit):
        if after >= "r7":
            raise StorageUnavailable("the disk is gone")
        return await whole(self, after, limit)

    store.list = broken

break_off(PostgresSuppressions)
break_off(SqliteSuppressions)
"""


async def test_a_csv_that_breaks_off_does_not_look_whole(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(TROUBLE)
    lines = "address\n" + "".join(f"r{number}@example.com\n" for number in range(400, 1000))
    async with Mailsvc(tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}") as service:
        await service.call("POST", "/suppressions", data=lines, headers=CSV)
        with pytest.raises(aiohttp.ClientPayloadError):
            async with service.http.get(f"{service.url}/suppressions", headers={"Accept": "text/csv"}) as answer:
                await answer.text()
        at_once = await service.call("GET", "/suppressions?after=r8")

    assert answer.status == 200
    assert at_once[0] == 503


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({}, "address", "missing"),
        ({"address": "nobody"}, "address", "invalid_address"),
        ({"address": "a@example.com", "reason": "a\nb"}, "reason", "invalid"),
        ({"address": "a@example.com", "expires_at": "soon"}, "expires_at", "invalid"),
        ({"address": "a@example.com", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at", "invalid"),
        ({"address": "a@example.com", "expires_at": "2199-01-01T00:00:00"}, "expires_at", "invalid"),
        ({"address": "a@example.com", "until": 1}, "until", "unknown_field"),
    ],
)
async def test_a_faulty_entry_is_refused_and_names_the_field(
    tmp_path: Path, given: dict[str, Any], field: str, code: str
) -> None:
    async with Mailsvc(tmp_path) as service:
        status, _, answer = await service.call("POST", "/suppressions", json=given)

    assert (status, answer["errors"][0]["field"], answer["errors"][0]["code"]) == (422, field, code)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "address=ann@example.com&limit=x"])
async def test_a_limit_out_of_range_is_refused_whatever_else_is_asked(tmp_path: Path, query: str) -> None:
    async with Mailsvc(tmp_path) as service:
        status, _, answer = await service.call("GET", f"/suppressions?{query}")

    assert (status, answer["errors"][0]["field"], answer["errors"][0]["code"]) == (422, "limit", "out_of_range")


async def test_a_csv_with_a_wrong_line_stores_nothing_and_names_the_line(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        lines = "address\nann@example.com\nnobody\n"
        status, _, answer = await service.call("POST", "/suppressions", data=lines, headers=CSV)
        _, _, page = await service.call("GET", "/suppressions")
        latin = await service.call("POST", "/suppressions", data=b"address\n\xff", headers=CSV)
        empty = await service.call("POST", "/suppressions", data="", headers=CSV)

    assert (status, answer["errors"][0]["field"]) == (422, "line 3: address")
    assert page == {"data": [], "has_more": False}
    assert (latin[0], empty[0]) == (400, 422)


async def test_the_list_and_ignoring_it_need_a_key_with_admin(tmp_path: Path) -> None:
    admin = {"Authorization": f"Bearer {KEY}"}
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        rules = {"name": "shop", "scopes": ["send", "read"]}
        _, _, made = await service.call("POST", "/keys", json=rules, headers=admin)
        weak = {"Authorization": f"Bearer {made['key']}"}
        answers = [
            await service.call("GET", "/suppressions", headers=weak),
            await service.call("POST", "/suppressions", json={"address": "a@example.com"}, headers=weak),
            await service.call("DELETE", "/suppressions/a@example.com", headers=weak),
            await service.call("POST", "/email", json=FORM | {"ignore_suppression": True}, headers=weak),
        ]
        strong = await service.call("POST", "/email", json=FORM | {"ignore_suppression": True}, headers=admin)

    assert [(status, body["code"]) for status, _, body in answers] == [(403, "forbidden")] * 4
    assert strong[0] == 202
