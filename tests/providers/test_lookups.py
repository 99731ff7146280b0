"""Looking for a mail at a provider: what is asked, and what an answer shows."""

import json
from typing import Any

import pytest

from mailsvc.model import new_id
from mailsvc.providers import all_providers
from mailsvc.providers.base import Can, Sighting
from mailsvc.wire import HttpRequest, Response
from tests.providers.cases import AT, MESSAGE, NAMES, provider
from tests.providers.whole import mail

MAIL = mail(MESSAGE)
OTHER = new_id(AT + 1)
CAN = [name for name in NAMES if Can.LOOKUP in all_providers()[name].can]


def postmark(mail_id: str, **more: Any) -> Any:
    return {"TotalCount": 1, "Messages": [{"MessageID": "p-1", "Metadata": {"mailsvc_id": mail_id}, **more}]}


def mandrill(mail_id: str, **more: Any) -> Any:
    return [{"_id": "m-1", "state": "sent", "metadata": {"mailsvc_id": mail_id}, **more}]


def mailgun(mail_id: str, **more: Any) -> Any:
    headers = {"message-id": f"{mail_id}@example.com"}
    return {"items": [{"event": "accepted", "message": {"headers": headers}, "user-variables": {}, **more}]}


SHAPES = {"postmark": postmark, "mandrill": mandrill, "mailgun": mailgun}
FOUND = {"postmark": "p-1", "mandrill": "m-1", "mailgun": f"{MAIL.id}@example.com"}


def sighted(name: str, document: Any, status: int = 200, complete: bool = True) -> Sighting:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return provider(name).sighted(Response(status, {}, body, AT, complete), MAIL)


def test_those_who_can_be_asked_are_known() -> None:
    assert set(CAN) == SHAPES.keys()


def test_what_is_asked_names_the_mail_and_nothing_else_is_sent() -> None:
    asked = {name: provider(name).lookup(MAIL) for name in CAN}

    assert {name: asked[name].method for name in CAN} == {"mandrill": "POST", "mailgun": "GET", "postmark": "GET"}
    wanted = f"count=20&offset=0&recipient=Ann%40example.org&metadata_mailsvc_id={MAIL.id}"
    assert asked["postmark"].url == f"https://api.postmarkapp.com/messages/outbound?{wanted}"
    assert asked["mailgun"].url.endswith(f"/v3/mg.example.com/events?limit=10&message-id={MAIL.id}%40example.com")
    assert asked["mandrill"].url == "https://mandrillapp.com/api/1.0/messages/search"
    assert json.loads(asked["mandrill"].body)["query"] == "full_email:Ann@example.org"


@pytest.mark.parametrize("name", CAN)
def test_no_secret_is_in_the_url(name: str) -> None:
    found = provider(name)
    request = found.lookup(MAIL)

    assert isinstance(request, HttpRequest)
    assert not [secret for secret in found.secrets() if secret and secret in request.url]


@pytest.mark.parametrize("name", CAN)
def test_a_mail_that_bears_our_id_is_found(name: str) -> None:
    assert sighted(name, SHAPES[name](MAIL.id)) == Sighting(found=True, provider_message_id=FOUND[name])


@pytest.mark.parametrize("name", CAN)
def test_another_mail_is_not_ours_even_if_the_filter_was_ignored(name: str) -> None:
    assert sighted(name, SHAPES[name](OTHER)) == Sighting(found=False)


@pytest.mark.parametrize(("name", "more"), [("mandrill", {"state": "rejected"}), ("mailgun", {"event": "rejected"})])
def test_a_mail_that_was_rejected_there_is_not_sent(name: str, more: dict[str, Any]) -> None:
    assert sighted(name, SHAPES[name](MAIL.id, **more)) == Sighting(found=False)


@pytest.mark.parametrize("name", CAN)
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_may_not_look_is_told_apart(name: str, status: int) -> None:
    assert sighted(name, {"message": "Forbidden"}, status) == Sighting(found=False, allowed=False)


@pytest.mark.parametrize("name", CAN)
@pytest.mark.parametrize(
    ("document", "status", "complete"),
    [
        (None, 200, True),
        ([], 200, True),
        ({}, 200, True),
        ({"Messages": 7, "items": 7}, 200, True),
        ({"Messages": [7, {"Metadata": 7}], "items": [7, {"message": 7}]}, 200, True),
        ([7, {"metadata": []}], 200, True),
        (b"<html>", 200, True),
        ({}, 500, True),
        ({}, 404, True),
    ],
)
def test_anything_else_shows_nothing(name: str, document: Any, status: int, complete: bool) -> None:
    assert sighted(name, document, status, complete) == Sighting(found=False)


@pytest.mark.parametrize("name", CAN)
def test_a_cut_answer_shows_nothing(name: str) -> None:
    assert sighted(name, SHAPES[name](MAIL.id), complete=False) == Sighting(found=False)
