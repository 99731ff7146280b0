"""Several API keys: what each may do, what each sees, and that nobody else gets in."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import FORM, Mailsvc, run

FIRST = "first-key-nobody-can-guess-0123456789"
UNKNOWN = "01a20c4f-9f14-7ca9-806c-59d8f7b56a5f"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def made(service: Mailsvc, name: str = "shop", by: str = FIRST, **rules: Any) -> tuple[str, str]:
    """The text of a new key and its id."""
    status, _, body = await service.call("POST", "/keys", json={"name": name} | rules, headers=bearer(by))
    assert status == 201, body
    return body["key"], body["id"]


def content(folder: Path) -> bytes:
    """What is in all files of a folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


async def send(service: Mailsvc, key: str, **changes: Any) -> tuple[int, Mapping[str, str], Any]:
    return await service.call("POST", "/email", json=FORM | changes, headers=bearer(key))


async def test_each_scope_opens_its_own_routes_and_a_403_names_the_one_that_is_missing(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        keys = {scope: (await made(service, scope, scopes=[scope]))[0] for scope in ("send", "read", "admin")}
        routes = {
            "send": [("POST", "/email"), ("POST", f"/email/{UNKNOWN}/resolve")],
            "read": [("GET", "/email"), ("GET", "/providers"), ("GET", "/providers/scores")],
            "admin": [
                ("POST", "/providers/capture/pause"),
                ("POST", "/providers/capture/resume"),
                ("GET", "/keys"),
                ("POST", "/erase"),
                ("DELETE", "/keys/mk_000000000000"),
                ("GET", "/events"),
                ("GET", "/"),
                ("GET", "/inbox"),
                ("GET", "/parts/mails"),
            ],
        }
        for needed, pairs in routes.items():
            for method, path in pairs:
                for scope, key in keys.items():
                    if scope in (needed, "admin"):
                        if path != "/events":  # a stream that does not end
                            status, _, body = await service.call(
                                method, path, headers=bearer(key), json=FORM if method == "POST" else None
                            )
                            assert status not in (401, 403), (scope, path, body)
                    else:
                        status, _, body = await service.call(method, path, headers=bearer(key), json=FORM)
                        assert (status, body["code"]) == (403, "forbidden"), (scope, path)
                        assert f"`{needed}`" in body["detail"]


async def test_a_key_sees_its_own_mails_and_those_of_others_are_not_there(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        ann, _ = await made(service, "ann")
        bob, _ = await made(service, "bob")
        ids = [(await send(service, key))[2]["id"] for key in (ann, bob, FIRST, ann)]
        mine = await service.call("GET", f"/email/{ids[0]}?wait=settled", headers=bearer(ann))
        answers = [
            await service.call("GET", f"/email/{mail_id}{query}", headers=bearer(ann))
            for mail_id in (ids[1], ids[2], UNKNOWN, "nonsense")
            for query in ("", "?wait=settled")
        ]
        streams = [await service.call("GET", f"/events?mail={i}", headers=bearer(ann)) for i in (ids[1], UNKNOWN)]
        listed = {
            name: [mail["id"] for mail in (await service.call("GET", "/email", headers=bearer(key)))[2]["data"]]
            for name, key in (("ann", ann), ("bob", bob), ("first", FIRST))
        }
        after = [
            (await service.call("GET", f"/email?after={i}", headers=bearer(ann)))[2] for i in (ids[1], ids[2], UNKNOWN)
        ]

    assert mine[2]["status"] == "sent"
    bodies = [{name: value for name, value in a[2].items() if name != "request_id"} for a in answers + streams]
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["status"] == 404
    assert listed == {"ann": [ids[3], ids[0]], "bob": [ids[1]], "first": ids[::-1]}
    assert after == [{"data": [], "has_more": False, "next": None}] * 3


async def test_an_idempotency_key_counts_for_one_api_key(tmp_path: Path) -> None:
    once = {"Idempotency-Key": "order-1"}
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        ann, _ = await made(service, "ann")
        ids = [
            (await service.call("POST", "/email", json=FORM, headers=bearer(key) | once))[2]["id"]
            for key in (ann, FIRST, ann, FIRST)
        ]

    assert ids[0] == ids[2]
    assert ids[1] == ids[3]
    assert ids[0] != ids[1]


async def test_a_key_sends_from_its_domains_alone(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST, MAILSVC_FROM="a@default.example") as service:
        key, _ = await made(service, domains=["Shop.Example", "bücher.example"])
        good = [
            (await send(service, key, **{"from": sender}))[0]
            for sender in ("a@shop.example", "A <b@SHOP.example>", "a@bücher.example", "a@xn--bcher-kva.example")
        ]
        bad = [
            await send(service, key, **({"from": sender} if sender else {}))
            for sender in ("a@example.com", "a@sub.shop.example", "")
        ]

    assert good == [202] * 4
    assert [(answer[0], answer[2]["code"]) for answer in bad] == [(403, "forbidden")] * 3
    assert ["example.com" in bad[0][2]["detail"], "shop.example" in bad[0][2]["detail"]] == [True, True]
    assert "default.example" in bad[2][2]["detail"]


async def test_a_key_with_a_rate_is_told_when_it_may_send_again_and_nobody_else_waits(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        slow, _ = await made(service, rate=3)
        answers = [await send(service, slow) for _ in range(5)]
        read = await service.call("GET", "/email", headers=bearer(slow))
        other = await send(service, FIRST)

    assert [answer[0] for answer in answers] == [202, 202, 202, 429, 429]
    assert answers[3][2]["code"] == "rate_limited"
    assert 1 <= int(answers[3][1]["Retry-After"]) <= 20
    assert (len(read[2]["data"]), other[0]) == (3, 202)


async def test_a_batch_beyond_the_rate_is_told_when_it_may_come_again_but_a_repeated_one_what_it_was(
    tmp_path: Path,
) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        slow, _ = await made(service, rate=1)

        async def batch(*mails: Any, key: str = "") -> tuple[int, Mapping[str, str], Any]:
            headers = bearer(slow) | ({"Idempotency-Key": key} if key else {})
            return await service.call("POST", "/email/batch", json=list(mails), headers=headers)

        first = await batch(*[FORM] * 2, key="once")
        over, mixed = await batch(FORM, FORM), await batch(FORM, {"to": "nobody"})
        again = await batch(*[FORM] * 2, key="once")
        other = await batch(FORM, key="once")

    assert (first[0], [row.get("status", 429) for row in first[2]["data"]]) == (202, ["queued", 429])
    assert first[2]["data"][1]["error"]["code"] == "rate_limited"
    assert (over[0], over[2]["code"]) == (429, "rate_limited")
    assert 1 <= int(over[1]["Retry-After"]) <= 60
    assert (mixed[0], mixed[2]["errors"][0]["field"]) == (422, "[0]")
    assert (again[0], again[2], again[1]["Idempotent-Replayed"]) == (202, first[2], "true")
    assert (other[0], other[2]["code"]) == (422, "idempotency_key_reused")


@pytest.mark.sqlite
async def test_a_key_is_shown_once_and_only_its_digest_is_kept_also_over_a_restart(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST, MAILSVC_LOG="debug") as service:
        key, key_id = await made(service, "shop", rate=600, domains=["example.com"])
        listed = await service.call("GET", "/keys", headers=bearer(FIRST))
        service.terminate()
        await service.ended()
        await service.start()
        after = await service.call("GET", "/email", headers=bearer(key))
        files = content(tmp_path)

    assert listed[2]["data"] == [
        {
            "id": key_id,
            "name": "shop",
            "scopes": ["send", "read"],
            "domains": ["example.com"],
            "rate": 600,
            "created_at": listed[2]["data"][0]["created_at"],
            "revoked_at": None,
        }
    ]
    assert after[0] == 200
    secret = key.removeprefix(key_id).strip("_")
    for kept in (files, "\n".join([*service.log, *service.out]).encode()):
        assert key_id.encode() in kept
        assert secret.encode() not in kept
        assert FIRST.encode() not in kept


async def test_a_revoked_key_opens_nothing_and_its_mails_stay(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        key, key_id = await made(service)
        mail_id = (await send(service, key))[2]["id"]
        first = await service.call("DELETE", f"/keys/{key_id}", headers=bearer(FIRST))
        refused = await send(service, key)
        again = await service.call("DELETE", f"/keys/{key_id}", headers=bearer(FIRST))
        mail = await service.call("GET", f"/email/{mail_id}", headers=bearer(FIRST))
        listed = await service.call("GET", "/keys", headers=bearer(FIRST))

    assert (first[0], first[2]) == (200, {"id": key_id, "status": "revoked"})
    assert (refused[0], again[0], mail[0]) == (401, 404, 200)
    assert listed[2]["data"][0]["revoked_at"].endswith("Z")


SENSELESS: list[tuple[dict[str, Any], str]] = [
    ({}, "name"),
    ({"name": ""}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": 5}, "name"),
    ({"name": "x", "scopes": []}, "scopes"),
    ({"name": "x", "scopes": ["root"]}, "scopes"),
    ({"name": "x", "scopes": [["send"]]}, "scopes"),
    ({"name": "x", "domains": ["-"]}, "domains"),
    ({"name": "x", "domains": ["a@b.example"]}, "domains"),
    ({"name": "x", "domains": {"a": 1}}, "domains"),
    ({"name": "x", "domains": ["example.com"] * 51}, "domains"),
    ({"name": "x", "rate": 0}, "rate"),
    ({"name": "x", "rate": 1.5}, "rate"),
    ({"name": "x", "rate": True}, "rate"),
    ({"name": "x", "rate": 10**9}, "rate"),
    ({"name": "x", "id": "mk_1"}, "id"),
]


async def test_rules_that_make_no_sense_are_refused_by_field(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        for rules, field in SENSELESS:
            status, _, body = await service.call("POST", "/keys", json=rules, headers=bearer(FIRST))
            assert (status, [fault["field"] for fault in body["errors"]]) == (422, [field]), rules
        _, _, listed = await service.call("GET", "/keys", headers=bearer(FIRST))

    assert listed["data"] == []


async def test_an_open_server_is_closed_by_its_first_key_and_open_again_without(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        status, _, key = await service.call("POST", "/keys", json={"name": "first", "scopes": ["admin"]})
        closed = await service.call("GET", "/email")
        page = await service.call("GET", "/", headers={"Accept": "text/html"}, allow_redirects=False)
        login = await service.call("POST", "/login", data={"key": key["key"]}, allow_redirects=False)
        opened = await service.call("GET", "/", headers={"Cookie": login[1]["Set-Cookie"].partition(";")[0]})
        await service.call("DELETE", f"/keys/{key['id']}", headers=bearer(key["key"]))
        again = await service.call("GET", "/email")

    assert (status, closed[0], page[0], login[0], opened[0], again[0]) == (201, 401, 303, 303, 200, 200)


async def test_the_page_is_for_administrators_and_ends_with_their_key(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        reader, _ = await made(service, "reader")
        admin, admin_id = await made(service, "admin", scopes=["admin"])
        refused = await service.call("POST", "/login", data={"key": reader}, allow_redirects=False)
        login = await service.call("POST", "/login", data={"key": admin}, allow_redirects=False)
        cookie = {"Cookie": login[1]["Set-Cookie"].partition(";")[0]}
        before = await service.call("GET", "/email", headers=cookie)
        form = await service.call(
            "POST", "/email", data=FORM | {"to": "nobody"}, headers=bearer(reader) | {"Accept": "text/html"}
        )
        await service.call("DELETE", f"/keys/{admin_id}", headers=bearer(FIRST))
        after = await service.call("GET", "/email", headers=cookie)

    assert (refused[0], "Set-Cookie" in refused[1]) == (403, False)
    assert "scope admin" in refused[2]
    assert (login[0], before[0], after[0]) == (303, 200, 401)
    assert form[0] == 422
    assert "mails-body" not in form[2]


async def test_words_of_a_provider_about_the_mails_of_others_are_for_administrators(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        reader, _ = await made(service, "reader")
        _, _, rows = await service.call("GET", "/providers", headers=bearer(reader))

    assert rows[0]["last_error"] is None


async def test_many_wrong_keys_get_a_429_and_the_right_one_is_still_let_in(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        answers = [await service.call("GET", "/email", headers=bearer("guess 0"))]
        while answers[-1][0] == 401:  # thirty, and one more for every two seconds that this takes
            answers.append(await service.call("GET", "/email", headers=bearer(f"guess {len(answers)}")))
        right = await service.call("GET", "/email", headers=bearer(FIRST))
        nothing = await service.call("GET", "/email")

    statuses = [answer[0] for answer in answers]
    assert statuses[:30] == [401] * 30
    assert (statuses[-1], len(statuses) < 60) == (429, True)
    assert answers[-1][2]["code"] == "rate_limited"
    assert int(answers[-1][1]["Retry-After"]) >= 1
    assert (right[0], nothing[0]) == (200, 401)


async def test_a_thousand_guessed_ids_end_in_429_and_known_ones_are_still_shown(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        guesser, _ = await made(service, "guesser")
        mail_id = (await send(service, guesser))[2]["id"]
        paths = [f"/email/{UNKNOWN[:-4]}{number:04x}" for number in range(1000)]
        answers = []
        for start in range(0, 1000, 50):
            calls = (service.call("GET", path, headers=bearer(guesser)) for path in paths[start : start + 50])
            answers += await asyncio.gather(*calls)
        known = await service.call("GET", f"/email/{mail_id}", headers=bearer(guesser))
        other = await service.call("GET", paths[0], headers=bearer(FIRST))

    statuses = [answer[0] for answer in answers]
    assert statuses[:50] == [404] * 50
    assert statuses.count(404) < 200
    assert set(statuses[500:]) <= {404, 429}
    assert all("Retry-After" in answer[1] for answer in answers if answer[0] == 429)
    assert (known[0], other[0]) == (200, 404)


async def test_the_command_line_makes_lists_and_revokes_keys(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST) as service:
        settings = {"MAILSVC_URL": service.url, "MAILSVC_API_KEY": FIRST}
        create = ("keys", "create", "shop", "--scope", "send", "--domain", "example.com", "--rate", "60")
        code, out, err = await run(tmp_path, *create, **settings)
        key = out.strip()
        key_id = key.rpartition("_")[0]
        plain = await run(tmp_path, "keys", "create", "plain", "--json", **settings)
        shown = await run(tmp_path, "keys", **settings)
        sent = await send(service, key, **{"from": "a@example.com"})
        revoked = await run(tmp_path, "keys", "revoke", key_id, **settings)
        twice = await run(tmp_path, "keys", "revoke", key_id, **settings)
        weak = await run(tmp_path, "keys", **settings | {"MAILSVC_API_KEY": json.loads(plain[1])["key"]})

    assert (code, plain[0], shown[0], sent[0], revoked[0], twice[0], weak[0]) == (0, 0, 0, 202, 0, 1, 1)
    assert "not shown again" in err
    assert json.loads(plain[1])["scopes"] == ["send", "read"]
    for words in (key_id, "shop", "send", "example.com", "60"):
        assert words in shown[1]
    assert key not in shown[1]
    assert revoked[1] == f"{key_id} is revoked\n"
    assert "`admin`" in weak[2]
