"""When a mail is tried again."""

import random

import pytest

from mailsvc.backoff import next_due

DELAYS = (5.0, 10.0, 20.0)


@pytest.mark.parametrize(("rounds", "delay"), [(1, 5.0), (2, 10.0), (3, 20.0), (4, 20.0), (400, 20.0)])
def test_delays_follow_the_list_and_the_last_repeats_within_a_quarter(rounds: int, delay: float) -> None:
    rng = random.Random(1)

    found = [next_due(rounds, 100.0, rng, DELAYS) - 100.0 for _ in range(200)]

    assert all(0.75 * delay <= wait <= 1.25 * delay for wait in found)
    assert len(set(found)) > 100


def test_nobody_is_asked_before_the_providers_said_so() -> None:
    assert next_due(1, 100.0, random.Random(1), DELAYS, retry_after=60.0) == 160.0
