"""Keys: made at random, known again by a digest, and what each allows."""

import re

from mailsvc.access import NOBODY, ApiKey, Keyring, Scope, new_key
from mailsvc.limits import MAX_NAMES, Limits

FIRST = "the-first-key-0123456789"
NOW = 1_800_000_000.0


def made(*scopes: Scope) -> tuple[ApiKey, str]:
    return new_key("shop", scopes, (), None, NOW)


def test_a_key_has_a_visible_beginning_and_160_bits_that_are_not_kept() -> None:
    key, text = made(Scope.SEND)

    assert re.fullmatch(r"mk_[0-9a-f]{12}_[0-9a-f]{40}", text)
    assert text.startswith(key.id)
    assert text[len(key.id) :].strip("_") not in repr(key) + key.digest
    assert key.digest not in repr(key)
    assert made(Scope.SEND)[1] != text


def test_a_key_is_found_by_its_whole_text_alone() -> None:
    key, text = made(Scope.SEND)
    ring = Keyring(FIRST)
    ring.replace([key])

    found = ring.find(FIRST)
    assert found is not None
    assert (found.id, found.may(Scope.ADMIN)) == ("", True)
    assert ring.find(text) == key
    for wrong in ("", key.id, text[:-1], text + "0", text.upper(), FIRST + "x", key.digest, "é", "\udc80"):
        assert ring.find(wrong) is None


def test_a_first_key_that_begins_like_another_one_is_still_found() -> None:
    key, _ = made(Scope.SEND)
    ring = Keyring(f"{key.id}-and-more-of-it")
    ring.replace([key])

    found = ring.find(f"{key.id}-and-more-of-it")

    assert found is not None
    assert found.id == ""


def test_a_revoked_key_opens_nothing() -> None:
    key, text = made(Scope.ADMIN)
    ring = Keyring(None)
    ring.replace([key])
    before = ring.find(text), ring.get(key.id), ring.empty
    revoked = ApiKey(key.id, key.name, key.digest, key.scopes, revoked_at=NOW + 1)
    ring.replace([revoked])

    assert before == (key, key, False)
    assert (ring.find(text), ring.get(key.id), ring.empty) == (None, None, True)


def test_without_any_key_the_ring_is_empty_and_there_is_no_first_one() -> None:
    assert (Keyring(None).empty, Keyring(None).get(""), Keyring("").empty, Keyring(FIRST).empty) == (
        True,
        None,
        True,
        False,
    )


def test_admin_includes_the_other_scopes_and_sees_all() -> None:
    assert [made(Scope.ADMIN)[0].may(scope) for scope in Scope] == [True] * 3
    assert [made(Scope.SEND)[0].may(scope) for scope in Scope] == [True, False, False]
    assert [made(Scope.READ)[0].may(scope) for scope in Scope] == [False, True, False]
    key, _ = made(Scope.READ, Scope.SEND)
    assert (key.sees, made(Scope.ADMIN)[0].sees, NOBODY.sees) == (key.id, None, None)


def test_a_bucket_holds_a_minutes_worth_and_fills_as_the_minute_goes_by() -> None:
    limits = Limits()
    waits = [limits.take("a", 6, 0.0) for _ in range(7)]

    assert waits[:6] == [0.0] * 6
    assert waits[6] == 10.0
    assert limits.take("a", 6, 5.0) == 5.0
    assert (limits.take("a", 6, 10.0), limits.take("a", 6, 10.0)) == (0.0, 10.0)
    assert [limits.take("a", 6, 1000.0) for _ in range(7)][5:] == [0.0, 10.0]


def test_one_name_does_not_use_up_what_another_may() -> None:
    limits = Limits()
    limits.take("a", 1, 0.0)

    assert limits.take("a", 1, 0.0) > 0
    assert limits.take("b", 1, 0.0) == 0.0


def test_the_memory_of_names_is_bounded_and_keeps_those_that_were_seen_last() -> None:
    limits = Limits()
    for number in range(MAX_NAMES + 10):
        limits.take(f"name {number}", 1, 0.0)
        limits.take("busy", 1, 0.0)

    assert limits.take("busy", 1, 0.0) > 0
    assert limits.take("name 0", 1, 0.0) == 0.0
    assert len(limits._buckets) <= MAX_NAMES
