"""What is told to a callback, and that who made the rule of signatures finds ours right."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from mailsvc.callback import LADDER, TEST, Callback, Notice, Secret, State, body, headers, new_callback, new_secret

NOTICE = Notice(
    number=1,
    id="msg_1",
    callback="cb_1",
    type="mail.bounced",
    at=1_800_000_000.1234,
    mail="01890000-0000-7000-8000-000000000001",
    provider="alpha",
    provider_message_id="m-1",
    error="no",
    tags=("welcome",),
    metadata={"order": "42"},
    state=State.WAITING,
    due_at=None,
    rung=0,
    tries=0,
)


def callback(*secrets: Secret) -> Callback:
    return replace(new_callback("https://a.example", ("*",), "", 0.0), secrets=secrets)


def test_a_notice_tells_the_mail_its_status_and_who_had_it() -> None:
    assert orjson.loads(body(NOTICE)) == {
        "type": "mail.bounced",
        "timestamp": "2027-01-15T08:00:00.123Z",
        "data": {
            "id": "01890000-0000-7000-8000-000000000001",
            "status": "bounced",
            "provider": "alpha",
            "provider_message_id": "m-1",
            "error": "no",
            "tags": ["welcome"],
            "metadata": {"order": "42"},
        },
    }


def test_a_test_tells_of_the_callback_alone() -> None:
    told = orjson.loads(body(replace(NOTICE, type=TEST, mail=None)))

    assert (told["type"], told["data"]) == (TEST, {"id": "cb_1"})


def test_what_is_told_is_the_same_for_every_try() -> None:
    assert body(NOTICE) == body(replace(NOTICE, tries=7, rung=3, due_at=9.0, state=State.FAILED))


def test_the_reference_verifier_accepts_a_signature_and_nothing_that_was_changed() -> None:
    secret, content, now = new_secret(), body(NOTICE), time.time()
    found = headers(callback(secret), NOTICE, content, now)

    assert Webhook(secret.text).verify(content, found) == orjson.loads(content)
    changes = {"webhook-id": "msg_2", "webhook-timestamp": str(int(now) + 1), "webhook-signature": "v1,AAAA"}
    for name, value in changes.items():
        with pytest.raises(WebhookVerificationError):
            Webhook(secret.text).verify(content, found | {name: value})
    with pytest.raises(WebhookVerificationError):
        Webhook(secret.text).verify(content + b" ", found)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret().text).verify(content, found)


def test_a_replaced_secret_signs_until_its_time_is_over() -> None:
    now = time.time()
    new, old, older = new_secret(), Secret(new_secret().text, now + 5), Secret(new_secret().text, now)
    content = body(NOTICE)
    found = headers(callback(new, old, older), NOTICE, content, now)

    for secret in (new, old):
        Webhook(secret.text).verify(content, found)
    with pytest.raises(WebhookVerificationError):
        Webhook(older.text).verify(content, found)
    assert len(found["webhook-signature"].split()) == 2


def test_a_secret_is_in_no_representation() -> None:
    secret = new_secret()
    shown = repr(callback(secret))

    assert secret.text not in shown
    assert "a.example" not in shown


def test_the_ladder_is_about_75_hours_long() -> None:
    assert LADDER == (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    assert 75 < sum(LADDER) / 3600 < 76


def test_the_program_in_the_docs_verifies_what_is_told_and_handles_it_once() -> None:
    """Each piece of Python on the page about callbacks, run as it stands."""
    text = (Path(__file__).parents[2] / "docs/callbacks.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    secret, content = new_secret(), body(NOTICE)
    seen: set[str] = set()
    done: list[dict[str, object]] = []

    def first_time(notice_id: str) -> bool:
        known = notice_id in seen
        seen.add(notice_id)
        return not known

    world: dict[str, Any] = {"first_time": first_time, "work_later": done.append}
    exec(program.replace("whsec_…", secret.text), world)
    good = headers(callback(secret), NOTICE, content, time.time())
    forged = headers(callback(new_secret()), NOTICE, content, time.time())

    assert [world["handle"](given, content) for given in (good, forged, good)] == [204, 401, 204]
    assert done == [orjson.loads(content)]
