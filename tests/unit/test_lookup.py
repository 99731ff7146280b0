"""Look-ups: who is asked, how seldom, and no more once it is forbidden."""

from dataclasses import replace

import pytest

from mailsvc import lookup
from mailsvc.lookup import PATIENCE, PAUSE, Look, Lookups
from mailsvc.model import Mail
from tests.contract.samples import mail


def doubtful(*names: str) -> Mail:
    return replace(mail(), doubted=frozenset(names), uncertain=True)


def test_each_who_may_have_it_is_asked_once() -> None:
    lookups, some = Lookups(["a", "b"]), doubtful("a", "b", "c")

    assert [lookups.due(some, 0.0) for _ in range(3)] == [Look("a"), Look("b"), None]


def test_two_at_one_provider_have_a_pause_between_them() -> None:
    lookups, first, second = Lookups(["a"]), doubtful("a"), replace(doubtful("a"), id="another")

    assert lookups.due(first, 0.0) == Look("a")
    assert lookups.due(second, 0.5) == PAUSE
    assert lookups.due(second, PAUSE) == Look("a")


def test_a_mail_whose_turn_does_not_come_goes_on_without() -> None:
    lookups = Lookups(["a"])
    lookups.due(doubtful("a"), 0.0)
    other = replace(doubtful("a"), id="another")

    assert [lookups.due(other, 0.0) for _ in range(PATIENCE + 1)] == [PAUSE] * PATIENCE + [None]


def test_nobody_is_asked_again_who_does_not_allow_it() -> None:
    lookups = Lookups(["a"])
    lookups.forbid("a")
    lookups.forbid("a")

    assert lookups.due(doubtful("a"), 0.0) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "REMEMBERED", 2)
    lookups = Lookups(["a"])
    for n in range(3):
        lookups.due(replace(doubtful("a"), id=str(n)), n * PAUSE)

    assert lookups.due(replace(doubtful("a"), id="0"), 10.0) == Look("a")
    assert lookups.due(replace(doubtful("a"), id="2"), 20.0) is None
