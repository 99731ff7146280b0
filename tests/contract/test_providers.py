"""What holds for every provider in the folder. A new one is found by its file and needs nothing here."""

import email
import json
from dataclasses import asdict, replace
from email.policy import default
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mailsvc.providers
from mailsvc.address import Mailbox, control_character
from mailsvc.fetch import Fetcher
from mailsvc.model import Message, Outcome
from mailsvc.providers import all_providers
from mailsvc.providers.base import (
    MAX_DETAIL,
    MAX_MESSAGE_ID,
    HttpProvider,
    HttpRequest,
    Keep,
    Provider,
    Request,
    Response,
    Result,
    Settings,
    SmtpReply,
    SmtpRequest,
)
from tests.fakes import FakeProvider
from tests.fakes.endpoints import ENDPOINTS
from tests.fakes.smtp import MailSink
from tests.providers.cases import AT, ENCODED_WORD, MESSAGE, Case, provider

NAMES = list(all_providers())
HTTP = [name for name, kind in all_providers().items() if issubclass(kind, HttpProvider)]
SENDING = [name for name in NAMES if name != "capture"]
FILES = [
    path.stem for path in Path(mailsvc.providers.__path__[0]).glob("*.py") if path.stem not in ("__init__", "base")
]

UNTOUCHED = {Outcome.REFUSED, Outcome.RECIPIENT_REFUSED, Outcome.SENDER_REFUSED}
every = pytest.mark.parametrize("name", NAMES)
every_http = pytest.mark.parametrize("name", HTTP)
every_sending = pytest.mark.parametrize("name", SENDING)


def cases(name: str) -> list[Case]:
    """The rows of a provider's own tests."""
    found = import_module(f"tests.providers.test_{name}").CASES
    assert all(isinstance(case, Case) for case in found)
    return list(found)


def response(status: int, body: bytes = b"", **headers: str) -> Response:
    return Response(status, {key.replace("_", "-"): value for key, value in headers.items()}, body, AT)


def text_of(request: Request) -> str:
    """Everything a request says, decoded."""
    if isinstance(request, HttpRequest):
        return json.dumps(json.loads(request.body), ensure_ascii=False)
    assert isinstance(request, SmtpRequest)
    mail = email.message_from_bytes(request.data, policy=default)
    parts = [part.get_content() for part in mail.walk() if not part.is_multipart()]
    people = [person.display_name for header in ("From", "To") for person in mail[header].addresses]
    return "\n".join([str(mail["Subject"]), *people, *parts, request.data.decode()])


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


# Answers.


@every
def test_a_detail_is_one_safe_line(name: str) -> None:
    found = provider(name)
    for case in cases(name):
        check_safe(found, found.read(case.answer, MESSAGE))


def check_safe(found: Provider, result: Result) -> None:
    """Can be stored and shown: short, one line, UTF-8, no secret."""
    texts = [result.detail, result.provider_message_id or "", *result.refused.values()]
    for text in texts:
        text.encode()
        assert len(text) <= MAX_DETAIL
        assert control_character(text) is None
        assert not [secret for secret in found.secrets() if len(secret) > 3 and secret in text]
    assert len(result.provider_message_id or "") <= MAX_MESSAGE_ID


@every_http
@pytest.mark.parametrize("status", [200, 202, 400, 401, 403, 422, 429, 500, 503])
def test_a_secret_that_the_provider_repeats_is_masked(name: str, status: int) -> None:
    found = provider(name)
    for secret in found.secrets():
        for padding in ("", *["x" * length for length in range(MAX_DETAIL - 60, MAX_DETAIL, 6)]):
            words = f"{padding} the key {secret} is wrong {secret}"
            for document in (
                {"errors": [{"message": words, "field": words}]},
                {"status": "error", "name": "Invalid_Key", "message": words},
                {"message": words, "error": words},
                [{"email": words, "status": "rejected", "reject_reason": words, "_id": words}],
                words,
            ):
                result = found.read(response(status, json.dumps(document).encode(), x_message_id=words), MESSAGE)
                check_safe(found, replace(result, provider_message_id=None))
                assert secret[:8] not in result.detail  # nor a part of it at the end


@every_http
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("complete", [True, False])
def test_a_redirect_is_never_acceptance_and_names_the_setting(name: str, status: int, complete: bool) -> None:
    answer = replace(response(status, b"moved", location="https://elsewhere.test"), complete=complete)
    result = provider(name).read(answer, MESSAGE)

    assert result.outcome is Outcome.DOWN
    assert f"{name.upper()}_URL" in result.detail
    assert result.http_status == status


@every_http
@pytest.mark.parametrize("status", [408, 504, 524])
@pytest.mark.parametrize("body", [b"", b"<html>time-out</html>", b"{}"])
def test_a_time_out_on_the_way_is_no_answer(name: str, status: int, body: bytes) -> None:
    assert provider(name).read(response(status, body), MESSAGE).outcome is Outcome.UNANSWERED


@every_http
@pytest.mark.parametrize("status", [500, 502, 503, 520, 599])
@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"{}", b"\xff\xfe\x00", b'{"status":'])
def test_a_broken_server_is_down(name: str, status: int, body: bytes) -> None:
    assert provider(name).read(response(status, body), MESSAGE).outcome is Outcome.DOWN


@every_http
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 415, 422, 451])
@pytest.mark.parametrize(
    "body", [b"", b"<html>proxy</html>", b"[]", b"null", b'"no"', b'{"a":1}', b"\xff", b'{"errors":']
)
def test_a_refusal_that_is_not_the_providers_is_down_and_names_the_setting(name: str, status: int, body: bytes) -> None:
    result = provider(name).read(response(status, body), MESSAGE)

    assert result.outcome is Outcome.DOWN
    assert f"{name.upper()}_URL" in result.detail


@every_http
@pytest.mark.parametrize("body", [b"", b"<html>slow down</html>", b"{}"])
def test_too_many_requests_is_a_rate_limit_whoever_says_it(name: str, body: bytes) -> None:
    result = provider(name).read(response(429, body, retry_after="12"), MESSAGE)

    assert (result.outcome, result.retry_after) == (Outcome.RATE_LIMITED, 12)


@every_http
@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
def test_a_success_that_was_cut_counts_where_the_status_alone_decides(name: str, status: int) -> None:
    found = provider(name)
    assert isinstance(found, HttpProvider)
    result = found.read(replace(response(status, b'{"a'), complete=False), MESSAGE)

    decides = status in found.accepts_without_body
    assert result.outcome is (Outcome.ACCEPTED if decides else Outcome.UNANSWERED)


@every_http
@pytest.mark.parametrize("body", [b"<html>hello</html>", b'{"a":1}', b"null", b"Magnificent"])
def test_a_200_that_is_not_documented_is_no_answer(name: str, body: bytes) -> None:
    result = provider(name).read(response(200, body), MESSAGE)

    assert result.outcome in (Outcome.UNANSWERED, Outcome.DOWN)


@every_http
@pytest.mark.parametrize("status", [101, 103, 600, 999])
def test_a_status_that_does_not_exist_is_no_answer(name: str, status: int) -> None:
    assert provider(name).read(response(status), MESSAGE).outcome is Outcome.UNANSWERED


@every_http
def test_a_refused_mail_never_touches_the_provider(name: str) -> None:
    refused = [
        case
        for case in cases(name)
        if isinstance(case.answer, Response) and case.answer.status in (400, 413, 422) and "_URL" not in case.words
    ]

    assert refused
    assert {case.outcome for case in refused} <= UNTOUCHED


@every
def test_only_acceptance_has_left_out_recipients_and_can_be_stuck(name: str) -> None:
    found = provider(name)
    results = [found.read(case.answer, MESSAGE) for case in cases(name)]

    assert all(result.outcome is Outcome.ACCEPTED for result in results if result.refused or result.stuck)
    addresses = {mailbox.address for mailbox in MESSAGE.to}
    assert all(set(result.refused) <= addresses for result in results)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 600) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["errors", "message", "status", "name", "code", "email", "_id", "field", "reject_reason"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
STATUSES = st.sampled_from([200, 201, 202, 204, 302, 400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 503, 504])


@every_http
@settings(deadline=None, max_examples=150)
@given(STATUSES, JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50), st.booleans(), st.text())
def test_no_answer_makes_a_provider_stumble(name: str, status: int, body: bytes, complete: bool, header: str) -> None:
    found = provider(name)
    headers = {"retry-after": header, "x-message-id": header, "x-ratelimit-reset": header}
    result = found.read(Response(status, headers, body, AT, complete), MESSAGE)

    check_safe(found, result)
    assert status < 300 or result.outcome is not Outcome.ACCEPTED


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["connect", "starttls", "auth", "mail", "rcpt", "data", "done"]),
    st.integers(100, 699) | st.none(),
    st.text(),
    st.dictionaries(st.sampled_from([person.address for person in MESSAGE.to]), st.tuples(st.integers(), st.text())),
)
def test_no_reply_makes_smtp_stumble(
    stage: str, code: int | None, text: str, refused: dict[str, tuple[int, str]]
) -> None:
    found = provider("smtp")
    result = found.read(SmtpReply(stage, code, text, refused), MESSAGE)

    check_safe(found, result)
    assert (result.outcome is Outcome.ACCEPTED) is (stage == "done")


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
