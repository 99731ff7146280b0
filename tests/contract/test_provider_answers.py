"""What answers mean, as far as it is the same for every provider in the folder."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsvc.address import control_character
from mailsvc.model import Outcome
from mailsvc.providers.base import MAX_DETAIL, MAX_MESSAGE_ID, HttpProvider, Provider, Result
from mailsvc.wire import Response, SmtpReply
from tests.providers.cases import (
    AT,
    MESSAGE,
    cases,
    every,
    every_http,
    provider,
    response,
)

UNHEALTHY = {Outcome.DOWN, Outcome.UNANSWERED}


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
                {"code": words, "message": words, "ErrorCode": 300, "Message": words, "__type": words},
                {"message": f"Queued {words}", "id": words, "messageId": words, "MessageID": words, "MessageId": words},
                {"results": {"total_accepted_recipients": 1, "total_rejected_recipients": 1, "id": words}},
                {"warnings": [{"type": words, "recipients": [{"email": MESSAGE.to[0].address, "reasons": [words]}]}]},
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
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 406, 409, 410, 415, 422, 451])
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
@pytest.mark.parametrize("body", [b"", b"<html>413 Request Entity Too Large</html>", b"{}"])
def test_a_mail_that_is_too_large_is_refused_whoever_says_it(name: str, body: bytes) -> None:
    assert provider(name).read(response(413, body), MESSAGE).outcome is Outcome.REFUSED


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
def test_a_refused_mail_costs_the_provider_no_health(name: str) -> None:
    found = provider(name)
    answers = [case.answer for case in cases(name) if "_URL" not in case.words]
    refused = [answer for answer in answers if isinstance(answer, Response) and answer.status in (400, 413, 422)]
    results = [found.read(answer, MESSAGE) for answer in refused]

    assert Outcome.REFUSED in {result.outcome for result in results}
    assert not [result for result in results if result.outcome in UNHEALTHY and not result.key_taken]


@every
def test_only_acceptance_has_left_out_recipients_and_can_be_stuck(name: str) -> None:
    found = provider(name)
    results = [found.read(case.answer, MESSAGE) for case in cases(name)]

    assert all(result.outcome is Outcome.ACCEPTED for result in results if result.refused or result.stuck)
    addresses = {mailbox.address for mailbox in MESSAGE.to}
    assert all(set(result.refused) <= addresses for result in results)


# What answers are made of.
WORDS = [
    *("errors", "message", "status", "name", "code", "email", "_id", "id", "field", "reject_reason", "description"),
    *("type", "__type", "ErrorCode", "Message", "MessageID", "MessageId", "messageId", "messageIds"),
    *("warnings", "recipients", "reasons", "results", "rcpt_to_errors"),
    *("total_accepted_recipients", "total_rejected_recipients"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 600) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WORDS) | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
STATUSES = st.sampled_from([200, 201, 202, 204, 302, 400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 503, 504])


@every_http
@settings(deadline=None, max_examples=100)
@given(STATUSES, JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50), st.booleans(), st.text())
def test_no_answer_makes_a_provider_stumble(name: str, status: int, body: bytes, complete: bool, header: str) -> None:
    found = provider(name)
    names = (
        "retry-after",
        "x-message-id",
        "x-ratelimit-reset",
        "x-amzn-errortype",
        "x-apiquota-reset",
        "x-send-paused",
    )
    headers = dict.fromkeys(names, header)
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
