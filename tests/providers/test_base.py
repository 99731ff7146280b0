"""What the base does for all providers: waiting times, and texts that are safe to keep."""

import time

import pytest

from mailsvc.wire import Response, describe, from_json, one_line, retry_after, seconds_until
from tests.providers.cases import AT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("999999999", 999999999),
        ("1000000000", 1000000000),
        ("1700000030", 30),
        ("1699999990", -10),
        ("1700000030.5", 30.5),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("Tue, 14 Nov 2023 22:13:50 -0000", 30),
        ("Tue, 14 Nov 2023 23:13:50 +0100", 30),
        ("2023-11-14T22:13:50Z", 30),
        ("2023-11-14T23:13:50.5+01:00", 30.5),
        ("2023-11-14T22:13:50", 30),
        ("2023-99-14T22:13:50Z", None),
        ("2023-11-14", None),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("9999999999999999999", None),
        ("Tue, 99 Nov 9999 99:99:99 GMT", None),
        ("Tue, 14 Nov 99999999999 22:13:50 GMT", None),
        (None, None),
    ],
)
def test_a_time_to_wait_is_seconds_a_date_or_an_epoch(value: str | None, seconds: float | None) -> None:
    assert seconds_until(value, AT) == seconds


def test_a_date_without_a_zone_is_universal_time_wherever_the_server_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        seconds = seconds_until("Tue, 14 Nov 2023 22:13:50 -0000", AT)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert seconds == 30


def test_retry_after_goes_before_other_headers_and_an_unusable_one_is_passed_over() -> None:
    headers = {"retry-after": "later", "x-ratelimit-reset": "1700000005", "other": "9"}

    assert retry_after(Response(429, headers, b"", AT), "x-ratelimit-reset", "other") == 5
    assert retry_after(Response(429, headers | {"retry-after": "3"}, b"", AT), "x-ratelimit-reset") == 3
    assert retry_after(Response(429, {}, b"", AT), "x-ratelimit-reset") is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        (" a \r\n\t b\x00c ", "a b c"),
        ("a\u2028b\u2029c\x85d\x7fe", "a b c d e"),
        ("grün 😀", "grün 😀"),
        ("half \ud83d", "half ?"),
        (b"bytes \xff\xc3\xbc", "bytes \ufffdü"),
        ("", ""),
    ],
)
def test_a_text_becomes_one_line_that_can_be_stored(text: str | bytes, line: str) -> None:
    assert one_line(text) == line


def test_an_answer_is_described_by_its_status_and_its_words() -> None:
    assert describe(503, b"at 1 < 2\n") == "503: at 1 < 2"
    assert describe(503, b"<html>\n<h1>Bad  Gateway</h1><hr></html>") == "503: Bad Gateway"
    assert describe(503, b"<html></html>") == describe(503, " ") == "answered 503"


def test_describing_a_hostile_page_takes_no_time() -> None:
    began = time.process_time()
    describe(503, b"<" * 65_536)
    describe(503, b"<a" * 32_768)

    assert time.process_time() - began < 1


@pytest.mark.parametrize(("body", "value"), [(b'{"a":[1]}', {"a": [1]}), (b"", None), (b"{", None), (b"\xff", None)])
def test_a_body_that_is_no_json_is_nothing(body: bytes, value: object) -> None:
    assert from_json(body) == value


def test_json_that_nests_too_deep_is_nothing() -> None:
    assert from_json(b"[" * 60_000) is None
