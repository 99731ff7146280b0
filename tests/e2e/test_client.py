"""The Python client against the real process: what it sends, what it raises, and that trouble makes no second mail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mailsvc.client import Client, NotNow, Refused
from tests.e2e.process import Mailsvc
from tests.e2e.test_keys import FIRST, bearer, made
from tests.fakes.proxy import BACK, Proxy

T = TypeVar("T")
SANDBOX = {"MAILSVC_API_KEY": FIRST, "MAILSVC_CAPTURE": "1"}


async def call(method: Callable[..., T], *values: Any, **named: Any) -> T:
    return await asyncio.to_thread(method, *values, **named)


async def listed(service: Mailsvc) -> list[dict[str, Any]]:
    _, _, body = await service.call("GET", "/email", headers=bearer(FIRST))
    return list(body["data"])


async def test_a_whole_mail_is_sent_and_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\x00file")
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        client = Client(service.url, FIRST)
        sent = await call(
            client.send,
            ["Ann <ann@example.com>", "bob@example.com"],
            "Hello",
            content="**hi**",
            sender="Shop <shop@example.com>",
            cc="cleo@example.com",
            tags=["receipt"],
            metadata={"order": "1042"},
            attachments=[file, {"filename": "b.txt", "content": b"b"}],
        )
        mail = await call(client.get, sent.id, wait=20)

    assert (sent.status, sent.replayed, mail["status"]) == ("queued", False, "sent")
    assert (mail["from"], mail["to"], mail["tags"], mail["metadata"]) == (
        "Shop <shop@example.com>",
        ["ann@example.com", "bob@example.com"],
        ["receipt"],
        {"order": "1042"},
    )


def test_variables_without_a_template_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="go with a template"):
        Client("http://127.0.0.1:1").send("ann@example.com", "Hi", text="Hi", variables={"name": "Ann"})


async def test_a_mail_is_made_from_a_template(tmp_path: Path) -> None:
    parts = {"subject": "Welcome, {{ name }}", "text": "Hello"}
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        await service.call("PUT", "/templates/welcome", json=parts, headers=bearer(FIRST))
        client = Client(service.url, FIRST)
        sent = await call(client.send, "ann@example.com", template="welcome", variables={"name": "Ann"})
        pinned = {"name": "welcome", "version": 1, "variables": {"name": "Bob"}}
        other = await call(client.send, "bob@example.com", template=pinned)
        mails = [await call(client.get, each.id) for each in (sent, other)]
        with pytest.raises(Refused) as error:
            await call(client.send, "ann@example.com", template="welcome")

    assert [(mail["subject"], mail["template"]["version"]) for mail in mails] == [
        ("Welcome, Ann", 1),
        ("Welcome, Bob", 1),
    ]
    assert error.value.errors[0]["field"] == "template.variables.name"


async def test_what_is_wrong_is_raised_at_once_with_its_fields(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        client = Client(service.url, FIRST)
        with pytest.raises(Refused) as error:
            await call(client.send, "nobody", "", text="hi")
        assert (error.value.status, error.value.code) == (422, "invalid")
        assert [fault["field"] for fault in error.value.errors] == ["to", "subject"]
        assert error.value.request_id
        with pytest.raises(Refused) as error:
            await call(Client(service.url, "wrong").send, "ann@example.com", "Hi", text="hi")
        assert (error.value.status, error.value.code) == (401, "unauthorized")
        with pytest.raises(Refused) as error:
            await call(client.get, "nonsense")
        assert error.value.code == "not_found"
        await call(client.send, "ann@example.com", "Hi", text="hi", idempotency_key="k")
        with pytest.raises(Refused) as error:
            await call(client.send, "ann@example.com", "Other", text="hi", idempotency_key="k")
        assert error.value.code == "idempotency_key_reused"


async def test_a_kill_in_the_middle_of_a_request_makes_no_second_mail(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service, Proxy(service.address[1]) as proxy:
        proxy.poison(way=BACK, after=0, then="hang")  # the mail is stored, and its answer does not come
        sending = asyncio.create_task(call(Client(proxy.url, FIRST).send, "ann@example.com", "Hi", text="hi"))
        while not await listed(service):
            await asyncio.sleep(0.02)
        proxy.down = True
        await service.kill()
        await proxy.cut()
        await service.start()
        proxy.toxics, proxy._target, proxy.down = [], service.address[1], False
        sent = await sending
        mails = await listed(service)

    assert [mail["id"] for mail in mails] == [sent.id]
    assert sent.replayed


async def test_an_answer_that_is_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service, Proxy(service.address[1]) as proxy:
        for after in (0, 10, 200):
            proxy.poison(way=BACK, after=after, then="close")
            sending = asyncio.create_task(call(Client(proxy.url, FIRST).send, "ann@example.com", "Hi", text="hi"))
            while proxy.made < 2:
                await asyncio.sleep(0.02)
            proxy.toxics = []
            assert (await sending).replayed
            proxy.made = 0  # and not before: the second try may have been cut off as well

        assert len(await listed(service)) == 3


async def test_a_rate_is_waited_for_and_patience_has_an_end(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, **SANDBOX) as service:
        slow, _ = await made(service, rate=60)
        client = Client(service.url, slow)
        sent = [await call(client.send, "ann@example.com", f"Number {n}", text="hi") for n in range(61)]
        assert len({each.id for each in sent}) == 61

        once, _ = await made(service, name="once", rate=1)
        hasty = Client(service.url, once, patience=0.5)
        await call(hasty.send, "ann@example.com", "Hi", text="hi")
        with pytest.raises(NotNow) as error:
            await call(hasty.send, "ann@example.com", "Hi", text="hi")
    assert (error.value.status, error.value.code) == (429, "rate_limited")
    assert error.value.retry_after
    assert error.value.retry_after > 1

    with pytest.raises(NotNow) as error:
        await call(Client(service.url, FIRST, patience=0.5).send, "ann@example.com", "Hi", text="hi")
    assert (error.value.status, error.value.code) == (0, "no_answer")


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="http://"):
        Client("file:///etc/passwd")
