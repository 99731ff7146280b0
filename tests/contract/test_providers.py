"""What holds for every provider in the folder. A new one is found by its file and needs nothing here."""

import email
import json
import re
from dataclasses import asdict, replace
from email.header import decode_header, make_header
from email.policy import default
from pathlib import Path

import pytest

import mailsvc.providers
from mailsvc.address import Mailbox
from mailsvc.fetch import Fetcher
from mailsvc.model import Message, Outcome, new_id
from mailsvc.providers import all_providers
from mailsvc.providers.base import Can, Settings
from mailsvc.wire import HttpRequest, Keep, Request, SmtpRequest
from tests.fakes import FakeProvider
from tests.fakes.endpoints import ENDPOINTS
from tests.fakes.smtp import MailSink
from tests.providers.cases import (
    ENCODED_WORD,
    MESSAGE,
    NAMES,
    cases,
    every,
    every_http,
    every_sending,
    provider,
)

every_deduping = pytest.mark.parametrize("name", [name for name in NAMES if Can.DEDUPE in all_providers()[name].can])
FILES = [
    path.stem for path in Path(mailsvc.providers.__path__[0]).glob("*.py") if path.stem not in ("__init__", "base")
]


def text_of(request: Request) -> str:
    """Everything a request says, and the same with encoded words decoded."""
    if isinstance(request, HttpRequest):
        said = _form_text(request) or json.dumps(json.loads(request.body), ensure_ascii=False)
        return said + "\n" + re.sub(r"=\?utf-8\?[bq]\?[^? ]*\?=", lambda word: _decoded(word[0]), said)
    assert isinstance(request, SmtpRequest)
    mail = email.message_from_bytes(request.data, policy=default)
    parts = [part.get_content() for part in mail.walk() if not part.is_multipart()]
    people = [person.display_name for header in ("From", "To") for person in mail[header].addresses]
    return "\n".join([str(mail["Subject"]), *people, *parts, request.data.decode()])


def _form_text(request: HttpRequest) -> str:
    """The values of a form; empty if it is none."""
    kind = request.headers["Content-Type"]
    if not kind.startswith("multipart/form-data"):
        return ""
    parts = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + request.body).get_payload()
    return "\n".join(part.get_payload(decode=True).decode() for part in parts)


def _decoded(word: str) -> str:
    return str(make_header(decode_header(word)))


# The folder.


def test_being_in_the_folder_is_what_registers_a_provider() -> None:
    assert sorted(NAMES) == sorted(FILES)


def test_ranks_are_unique_and_capture_is_the_last() -> None:
    ranks = [kind.rank for kind in all_providers().values()]

    assert ranks == sorted(set(ranks))
    assert NAMES[-1] == "capture"


def test_no_two_providers_share_a_variable() -> None:
    variables = [variable for kind in all_providers().values() for variable in kind.env]

    assert len(variables) == len(set(variables))
    assert all(variable.isupper() for variable in variables)


@every_sending
def test_a_provider_that_sends_is_switched_on_by_its_variables(name: str) -> None:
    assert all_providers()[name].env


@every_http
def test_an_http_provider_has_a_url_of_its_own(name: str) -> None:
    assert (all_providers()[name].default_url or "").startswith("https://")


@every
def test_a_provider_has_its_own_tests_with_a_row_for_acceptance(name: str) -> None:
    assert Outcome.ACCEPTED in {case.outcome for case in cases(name)}


@every_http
def test_the_rows_of_an_http_provider_cover_what_can_happen(name: str) -> None:
    wanted = {Outcome.REFUSED, Outcome.UNAUTHORIZED, Outcome.RATE_LIMITED, Outcome.DOWN, Outcome.UNANSWERED}

    assert wanted <= {case.outcome for case in cases(name)}


# Settings.


@every
def test_the_examples_have_no_faults(name: str) -> None:
    kind = all_providers()[name]

    assert kind.faults(provider(name).settings) == []


@every_sending
@pytest.mark.parametrize("junk", ["hid den", "hid\nden", "hidden\u00df", "hid\x00den", "\u201chidden\u201d"])
def test_a_value_that_cannot_be_is_named_but_not_shown(name: str, junk: str) -> None:
    kind = all_providers()[name]
    for variable in kind.env:
        faults = kind.faults(Settings({**provider(name).settings.values, variable: junk}))

        assert faults
        assert all(variable in fault and "hid" not in fault for fault in faults)


# Requests.


@every
def test_a_request_is_the_same_every_time(name: str) -> None:
    first = provider(name)

    assert first.request(MESSAGE) == first.request(MESSAGE) == provider(name).request(MESSAGE)


@every
def test_a_request_is_of_one_of_the_known_kinds(name: str) -> None:
    assert isinstance(provider(name).request(MESSAGE), HttpRequest | SmtpRequest | Keep)


@every_http
def test_an_http_request_goes_below_the_url_that_is_set(name: str) -> None:
    request = provider(name, "http://127.0.0.1:9001/below/").request(MESSAGE)

    assert isinstance(request, HttpRequest)
    assert request.url.startswith("http://127.0.0.1:9001/below/")
    assert "//" not in request.url.removeprefix("http://")


@every_sending
def test_a_request_carries_the_id_of_the_mail(name: str) -> None:
    assert MESSAGE.id in text_of(provider(name).request(MESSAGE))


@every_sending
def test_what_is_not_ascii_and_what_looks_like_a_template_survives(name: str) -> None:
    said = text_of(provider(name).request(MESSAGE))

    assert MESSAGE.subject in said
    assert "Hällo {{name}} *|NAME|* %recipient.x%" in said
    assert "Tö, the Shop" in said
    assert "Ann Ünder" in said


@every_sending
def test_an_encoded_word_is_literal_text_and_adds_no_recipient(name: str) -> None:
    people = (Mailbox("c@d.test", ENCODED_WORD),)
    request = provider(name).request(replace(MESSAGE, subject=ENCODED_WORD, to=people))

    if isinstance(request, SmtpRequest):
        assert request.recipients == ("c@d.test",)
        assert "Bcc" not in email.message_from_bytes(request.data)
        assert ENCODED_WORD.encode() not in request.data  # a reader would decode it
    else:
        assert text_of(request).count(ENCODED_WORD) == 2


@every_sending
@pytest.mark.parametrize(("text", "html"), [("t", None), (None, "<p>h</p>"), ("", "<p>h</p>"), ("t", "")])
def test_a_mail_with_one_part_can_be_sent(name: str, text: str | None, html: str | None) -> None:
    request = provider(name).request(replace(MESSAGE, text=text, html=html))

    assert (text or html or "") in text_of(request)


@every_sending
def test_no_secret_is_shown(name: str) -> None:
    found = provider(name)
    request = found.request(MESSAGE)
    shown = " ".join(f"{item!r} {item}" for item in (found, found.settings, request))
    if isinstance(request, HttpRequest):
        shown += request.url

    assert not [secret for secret in found.secrets() if secret and secret in shown]


# Keys: those by which a provider knows a request that is repeated.


@every
def test_only_a_provider_that_can_dedupe_has_keys_and_says_how_long_they_live(name: str) -> None:
    found = provider(name)
    request = found.request(MESSAGE)
    key = request.key if isinstance(request, HttpRequest) else None

    assert bool(key) is (Can.DEDUPE in found.can) is (found.key_life > 0)


@every_deduping
def test_a_key_belongs_to_the_mail_whatever_is_in_it(name: str) -> None:
    first, other = new_id(1.0), new_id(1.0)
    keys = [
        provider(name).request(replace(MESSAGE, id=each, subject=subject)).key
        for each in (first, other)
        for subject in ("a", "b")
    ]

    assert (keys[0], keys[2]) == (keys[1], keys[3])
    assert keys[0] != keys[2]


@every_deduping
def test_a_request_can_be_made_again_from_its_body_and_its_key(name: str) -> None:
    found = provider(name)
    request = found.request(MESSAGE)

    assert found.again(request.body, request.key) == request


@every_deduping
def test_a_body_that_is_kept_holds_no_secret(name: str) -> None:
    found = provider(name)

    assert not [secret for secret in found.secrets() if secret.encode() in found.request(MESSAGE).body]


@every
def test_only_a_provider_that_can_dedupe_is_asked_for_a_request_again(name: str) -> None:
    found = provider(name)
    if Can.DEDUPE not in found.can:
        with pytest.raises(NotImplementedError):
            found.again(b"", "")


# On the wire.


@pytest.mark.parametrize("name", [kind.name for kind in ENDPOINTS])
async def test_a_mail_is_accepted_by_the_fake_provider_and_its_id_arrives(name: str) -> None:
    async with FakeProvider() as fake, Fetcher(timeout=5, concurrency=1) as fetch:
        found = provider(name, fake.url)
        result = found.read(await fetch(found.request(MESSAGE)), MESSAGE)

    assert result.outcome is Outcome.ACCEPTED
    assert result.provider_message_id
    assert [(entry.provider, entry.mail_id, entry.accepted) for entry in fake.ledger] == [(name, MESSAGE.id, True)]


@pytest.mark.parametrize("name", [kind.name for kind in ENDPOINTS])
async def test_a_key_that_the_fake_provider_does_not_know_is_unauthorized(name: str) -> None:
    async with FakeProvider(keys={name: "another"}) as fake, Fetcher(timeout=5, concurrency=1) as fetch:
        found = provider(name, fake.url)
        result = found.read(await fetch(found.request(MESSAGE)), MESSAGE)

    assert result.outcome is Outcome.UNAUTHORIZED
    assert [entry.accepted for entry in fake.ledger] == [False]


async def test_a_mail_is_accepted_by_a_mail_server_as_it_was_written() -> None:
    async with MailSink() as sink, Fetcher(timeout=5, concurrency=1) as fetch:
        found = provider("smtp", SMTP_URL=f"smtp://127.0.0.1:{sink.port}")
        result = found.read(await fetch(found.request(MESSAGE)), MESSAGE)

    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "SINK1")
    mail = sink.mails[0].parsed()
    assert (mail["Subject"], mail["Message-ID"]) == (MESSAGE.subject, MESSAGE.message_id)
    assert sink.mails[0].recipients == tuple(person.address for person in MESSAGE.to)


async def test_a_mail_that_is_captured_is_accepted() -> None:
    async with Fetcher(timeout=5, concurrency=1) as fetch:
        found = provider("capture")
        result = found.read(await fetch(found.request(MESSAGE)), MESSAGE)

    assert result.outcome is Outcome.ACCEPTED


def test_a_message_is_not_changed_by_anybody() -> None:
    before = asdict(MESSAGE)
    for name in NAMES:
        provider(name).request(MESSAGE)

    assert asdict(MESSAGE) == before
    assert isinstance(MESSAGE, Message)
