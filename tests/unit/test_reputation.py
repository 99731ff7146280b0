"""How a provider stands with a domain, by the reports about it."""

import pytest

from mailsvc.model import Report, ReportType
from mailsvc.reputation import AVOID, HALF_LIFE, MOST, TRUST, Reputation

NOW = 1000.0


def told(kind: str, recipient: str | None = "ann@big.example", provider: str = "first", **fields: bool) -> Report:
    return Report(ReportType(kind), NOW, provider, "e", recipient=recipient, **fields)


def blocked(times: int, now: float = NOW) -> Reputation:
    reputation = Reputation()
    for _ in range(times):
        reputation.learn(told("delayed"), now)
    return reputation


def test_each_block_leaves_nine_tenths_and_a_delivery_takes_a_tenth_of_the_way_back() -> None:
    reputation = blocked(3)
    assert reputation.standing("first", "big.example", NOW) == pytest.approx(0.9**3)

    reputation.learn(told("delivered"), NOW)

    assert reputation.standing("first", "big.example", NOW) == pytest.approx(0.9**4 + 0.1)


def test_it_is_avoided_for_that_domain_alone_and_says_why() -> None:
    reputation = blocked(5)

    assert "big.example" in (reputation.avoids("first", {"big.example", "else.example"}, NOW) or "")
    assert reputation.avoids("first", {"else.example"}, NOW) is None
    assert reputation.avoids("second", {"big.example"}, NOW) is None


def test_time_heals_and_trust_comes_back_later_than_it_went() -> None:
    reputation = blocked(5)
    assert AVOID > 0.9**5
    assert reputation.avoids("first", {"big.example"}, NOW)

    between, healed = NOW + HALF_LIFE / 2, NOW + 2 * HALF_LIFE
    assert AVOID < reputation.standing("first", "big.example", between) < TRUST
    assert reputation.avoids("first", {"big.example"}, between)
    assert reputation.avoids("first", {"big.example"}, healed) is None
    assert reputation.avoids("first", {"big.example"}, healed) is None


@pytest.mark.parametrize(
    "report",
    [
        told("delivered"),
        told("opened"),
        told("complained"),
        told("rejected"),
        told("bounced", permanent=True),
        told("bounced"),
        told("delayed", recipient=None),
    ],
)
def test_what_is_not_about_getting_through_changes_nothing(report: Report) -> None:
    reputation = blocked(0)
    for _ in range(20):
        reputation.learn(report, NOW)

    assert reputation.standing("first", "big.example", NOW) == 1.0


def test_a_soft_bounce_counts_as_a_block() -> None:
    reputation = Reputation()
    reputation.learn(told("bounced", permanent=False), NOW)

    assert reputation.standing("first", "big.example", NOW) == pytest.approx(0.9)


def test_what_is_remembered_is_bounded_and_the_worst_stays() -> None:
    reputation = blocked(6)
    for number in range(MOST + 10):
        reputation.learn(told("delayed", f"x@d{number}.example"), NOW)

    assert len(reputation._pairs) <= MOST
    assert reputation.standing("first", "big.example", NOW) < AVOID
