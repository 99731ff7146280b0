"""How examples of the docs are held against what really came: what passes, and that what differs does not."""

from __future__ import annotations

import json

import pytest

from tests.transcript import Transcript, loose, steps

ID, OTHER = "01a20c68-206d-71fb-8bf0-69b468b56623", "01b30000-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, …}', {"a": 1, "…": "…"}),
        ('{"a":1, … "b":[{"n":1, …}, …]}', {"a": 1, "…": "…", "b": [{"n": 1, "…": "…"}, "…"]}),
        ('{…, "at": "a@b … {"}', {"…": "…", "at": "a@b … {"}),
        ('["…", {"queued": 3, …}, …]', ["…", {"queued": 3, "…": "…"}, "…"]),
        ("[…]", ["…"]),
    ],
)
def test_json_with_gaps_is_read(text: str, value: object) -> None:
    assert loose(text) == value


def test_a_console_is_its_commands_with_what_they_show() -> None:
    text = "$ one \\\n    more\nshown\nlines\n\n$ two\n$ three\n{}\n"

    assert steps(text) == [("one \\\n    more", "shown\nlines"), ("two", ""), ("three", "{}")]


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        (f'{{"id":"{ID}","at":"2026-11-24T07:14:40.365Z"}}', {"id": OTHER, "at": "2030-01-02T03:04:05.678Z"}),
        ('{"data":[{"id":"01a2…","key":"mk_3f…"}, …], …}', {"data": [{"id": OTHER, "key": "mk_9_x"}, 1, 2], "more": 1}),
        ('{"detail":"Not … now"}', {"detail": "Not at all now"}),
        ("cb_3f9a0c1d2e4b5a69  whsec_c2Vj…", "cb_0000000000000001  whsec_ab+/=\n"),
        (
            f"HTTP/1.1 202 Accepted\nLocation: /email/{ID}\n\n{{…}}",
            f"HTTP/1.1 202 Accepted\r\nX: y\r\nLocation: /email/{OTHER}\r\n\r\n{{}}",
        ),
    ],
)
def test_what_is_of_the_same_kind_is_the_same(shown: str, came: object) -> None:
    assert Transcript().faults(shown, came if isinstance(came, str) else json.dumps(came)) == []


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        ('{"status":"queued"}', {"status": "sent"}),
        ('{"status":"queued"}', {"status": "queued", "more": 1}),
        ('{"status":"queued","more":1}', {"status": "queued"}),
        ('{"n":1}', {"n": 2}),
        ('{"n":1}', {"n": True}),
        ('{"n":null}', {"n": "1"}),
        ('{"data":[1,2]}', {"data": [1, 2, 3]}),
        ('{"data":[1,2,…]}', {"data": [1]}),
        (f'{{"id":"{ID}"}}', {"id": "no id"}),
        ('{"at":"2026-11-24T07:14:40.365Z"}', {"at": "2026-11-24"}),
        ('{"key":"mk_3f…"}', {"key": "cb"}),
        (f'{{"id":"{ID}","same":"{ID}"}}', {"id": OTHER, "same": ID}),
        ("delivered, 1 tries", "failed, 1 tries"),
        ("HTTP/1.1 202 Accepted\n\n{}", "HTTP/1.1 200 OK\r\n\r\n{}"),
        ("HTTP/1.1 202 Accepted\n\n{}", 'HTTP/1.1 202 Accepted\r\n\r\n{"a":1}'),
        ("{}", "<html>"),
    ],
)
def test_what_differs_is_told(shown: str, came: object) -> None:
    assert Transcript().faults(shown, came if isinstance(came, str) else json.dumps(came))


def test_an_id_that_was_shown_stands_for_the_real_one_from_then_on() -> None:
    transcript = Transcript()
    transcript.faults(f'{{"id":"{ID}"}}', json.dumps({"id": OTHER}))

    assert transcript.real(f"curl localhost:8080/email/{ID}") == f"curl localhost:8080/email/{OTHER}"


def test_the_shape_of_an_answer_is_its_names_its_types_and_what_is_null() -> None:
    shown = {"to": ["ann@example.com"], "score": 50.0, "error": None, "n": [{"a": 1}]}
    differences = Transcript().differences

    assert differences(shown, {"to": ["x"], "score": 3, "error": None, "n": [{"a": 9}]}, shape=True) == []
    for changed in ({"to": "x"}, {"score": "3"}, {"error": "no"}, {"n": [{"a": 1, "b": 2}]}, {"n": []}):
        assert differences(shown, shown | changed, shape=True)
    assert differences(shown, {"to": ["x"]}, shape=True)
