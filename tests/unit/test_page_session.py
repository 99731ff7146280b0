"""Sessions: signed, bounded in time, ended for good."""

import pytest

from mailsvc.web.session import GUESSES, LIFE, Sessions, given_token

KEY = "a-key-nobody-can-guess"


class Clock:
    """Unix seconds that a test turns."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(KEY, clock)


def test_a_session_is_good_until_it_expires(sessions: Sessions, clock: Clock) -> None:
    cookie = sessions.begin()
    name = sessions.check(cookie)

    assert name
    clock.now += LIFE - 1
    assert sessions.check(cookie) == name
    clock.now += 1
    assert sessions.check(cookie) is None


def test_two_sessions_never_look_alike_and_hold_no_key(sessions: Sessions) -> None:
    first, second = sessions.begin(), sessions.begin()

    assert first != second
    assert KEY not in first


def test_another_process_with_the_same_key_knows_it_and_one_with_another_key_does_not(
    sessions: Sessions, clock: Clock
) -> None:
    cookie = sessions.begin()

    assert Sessions(KEY, clock).check(cookie)
    assert Sessions(KEY + "x", clock).check(cookie) is None


@pytest.mark.parametrize("forged", [None, "", ".", "x.y", "ffffffff.00.00", "é", "a" * 5000])
def test_rubbish_is_no_session(sessions: Sessions, forged: str | None) -> None:
    assert sessions.check(forged) is None


def test_every_changed_character_spoils_it(sessions: Sessions) -> None:
    cookie = sessions.begin()
    changed = [cookie[:place] + chr(ord(each) ^ 1) + cookie[place + 1 :] for place, each in enumerate(cookie)]

    assert [each for each in changed if sessions.check(each)] == []


def test_a_session_that_was_ended_stays_ended(sessions: Sessions) -> None:
    cookie, other = sessions.begin(), sessions.begin()
    sessions.end(sessions.check(cookie) or "")

    assert sessions.check(cookie) is None
    assert sessions.check(other)


def test_a_token_belongs_to_one_session(sessions: Sessions) -> None:
    mine, other = (sessions.check(sessions.begin()) or "" for _ in range(2))

    assert sessions.is_token(mine, sessions.token(mine))
    assert not sessions.is_token(other, sessions.token(mine))
    assert not sessions.is_token(mine, "")
    assert not sessions.is_token(mine, sessions.begin().rpartition(".")[2])


def test_guesses_are_bounded_and_forgiven_after_a_minute(sessions: Sessions, clock: Clock) -> None:
    for _ in range(GUESSES):
        assert sessions.wait() == 0
        sessions.missed()
    waits = sessions.wait()
    clock.now += 61

    assert 59 <= waits <= 60
    assert sessions.wait() == 0


def test_without_a_first_key_no_other_process_knows_a_session(clock: Clock) -> None:
    sessions = Sessions(None, clock)
    cookie = sessions.begin("mk_1")

    assert sessions.check(cookie)
    assert Sessions(None, clock).check(cookie) is None


def test_a_session_says_whose_it_is(sessions: Sessions) -> None:
    names = [sessions.check(sessions.begin(key_id)) or "" for key_id in ("", "mk_1")]

    assert [sessions.key_id(name) for name in names] == ["", "mk_1"]


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("headers", "body", "token"),
    [
        ({"X-XSRF-Token": "a"}, b"_xsrf=b", "a"),
        ({"Content-Type": FORM}, b"to=x&_xsrf=b%20c", "b c"),
        ({"Content-Type": f"{FORM}; charset=utf-8"}, b"_xsrf=b", "b"),
        ({"Content-Type": "application/json"}, b'{"_xsrf": "b"}', ""),
        ({"Content-Type": FORM}, b"&".join(b"a=1" for _ in range(300)), ""),
        ({}, b"", ""),
    ],
)
def test_a_token_comes_in_the_header_or_in_the_form(headers: dict[str, str], body: bytes, token: str) -> None:
    assert given_token(headers, body) == token
