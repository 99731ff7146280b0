"""The text of /metrics, read by the parsers of those who define it."""

import random

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from mailsvc.metrics import Reading, Store, exposition
from mailsvc.model import Outcome, Resolution, Status
from mailsvc.outbox.base import Extent
from mailsvc.selector import Selector
from mailsvc.tally import Tally

NOW = 1_800_000_000.0
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def reading(tally: Tally | None = None, store: Store | None = None, **batches: dict[int, int]) -> Reading:
    """A reading of two providers, the second of which is paused."""
    selector = Selector({"sendgrid": 50.0, "mandrill": 40.0}, rng=random.Random(1))
    selector.pause("mandrill")
    build = {"version": "1.2.3", "database": "sqlite"}
    return Reading(NOW, build, tally or Tally(), batches, selector.snapshot(0.0), 3, store)


def samples(given: Reading) -> Samples:
    """Every sample by its name and labels."""
    text, _ = exposition(given, "")
    families = parser.text_string_to_metric_families(text.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def sample(given: Reading, name: str, **labels: str) -> float:
    return samples(given)[name, frozenset(labels.items())]


def test_what_was_counted_is_shown() -> None:
    tally = Tally()
    tally.accepted = 7
    tally.refused["invalid"] += 2
    tally.ended("sendgrid", Outcome.DOWN, 0.3)
    tally.ended("sendgrid", Outcome.ACCEPTED, 0.02)
    found = reading(tally)

    assert sample(found, "mailsvc_accepted_mails_total") == 7
    assert sample(found, "mailsvc_refused_requests_total", code="invalid") == 2
    assert sample(found, "mailsvc_attempts_total", provider="sendgrid", outcome="down") == 1
    assert sample(found, "mailsvc_attempts_total", provider="sendgrid", outcome="accepted") == 1
    assert sample(found, "mailsvc_requests_in_flight") == 3


def test_an_outcome_that_has_not_happened_is_zero_so_that_a_rate_can_rise_from_it() -> None:
    found = reading()

    assert [sample(found, "mailsvc_attempts_total", provider="mandrill", outcome=each.value) for each in Outcome] == [
        0
    ] * len(Outcome)


def test_durations_fall_into_cumulative_buckets() -> None:
    tally = Tally()
    for seconds in (0.01, 0.05, 0.3, 45.0, -2.0):
        tally.ended("sendgrid", Outcome.ACCEPTED, seconds)
    found = reading(tally)

    buckets = {
        bound: sample(found, "mailsvc_attempt_duration_seconds_bucket", provider="sendgrid", le=bound)
        for bound in ("0.05", "0.2", "0.5", "30.0", "+Inf")
    }
    assert buckets == {"0.05": 3, "0.2": 3, "0.5": 4, "30.0": 4, "+Inf": 5}
    assert sample(found, "mailsvc_attempt_duration_seconds_count", provider="sendgrid") == 5
    assert sample(found, "mailsvc_attempt_duration_seconds_sum", provider="sendgrid") == pytest.approx(45.36)


def test_group_commits_are_a_histogram_of_rows() -> None:
    found = reading(accept={1: 3, 17: 2}, settle={256: 1})

    assert sample(found, "mailsvc_group_commit_rows_bucket", batch="accept", le="1.0") == 3
    assert sample(found, "mailsvc_group_commit_rows_bucket", batch="accept", le="16.0") == 3
    assert sample(found, "mailsvc_group_commit_rows_bucket", batch="accept", le="32.0") == 5
    assert sample(found, "mailsvc_group_commit_rows_sum", batch="accept") == 37
    assert sample(found, "mailsvc_group_commit_rows_count", batch="settle") == 1


def test_each_provider_is_in_one_state() -> None:
    found = samples(reading())
    states = {
        labels: value for (name, labels), value in found.items() if name == "mailsvc_provider_state" and value == 1
    }

    assert {tuple(sorted(labels)) for labels in states} == {
        (("provider", "mandrill"), ("state", "paused")),
        (("provider", "sendgrid"), ("state", "open")),
    }
    assert sample(reading(), "mailsvc_provider_score", provider="mandrill") == 40


def test_what_the_database_says_is_shown() -> None:
    extent = Extent(NOW - 12.5, bytes=8192, log_bytes=4096, free_bytes=10**9)
    doubts = {("sendgrid", None): 2, ("sendgrid", Resolution.HAND): 1}
    found = reading(store=Store({Status.QUEUED: 5, Status.UNCERTAIN: 1}, doubts, extent))

    assert sample(found, "mailsvc_storage_up") == 1
    assert sample(found, "mailsvc_mails", status="queued") == 5
    assert sample(found, "mailsvc_mails", status="uncertain") == 1
    assert sample(found, "mailsvc_mails", status="sent") == 0
    assert sample(found, "mailsvc_oldest_due_seconds") == 12.5
    assert sample(found, "mailsvc_doubts", provider="sendgrid", resolution="open") == 2
    assert sample(found, "mailsvc_doubts", provider="sendgrid", resolution="hand") == 1
    assert sample(found, "mailsvc_wal_bytes") == 4096
    assert sample(found, "mailsvc_disk_free_bytes") == 10**9


def test_without_an_answer_of_the_database_the_rest_is_still_told() -> None:
    found = samples(reading())

    assert found["mailsvc_storage_up", frozenset()] == 0
    assert not [name for name, _ in found if name in ("mailsvc_mails", "mailsvc_oldest_due_seconds")]
    assert ("mailsvc_accepted_mails_total", frozenset()) in found


def test_a_size_that_a_database_cannot_tell_is_left_out() -> None:
    found = samples(reading(store=Store({}, {}, Extent(None, bytes=8192))))

    assert found["mailsvc_database_bytes", frozenset()] == 8192
    assert found["mailsvc_oldest_due_seconds", frozenset()] == 0
    assert not [name for name, _ in found if name in ("mailsvc_wal_bytes", "mailsvc_disk_free_bytes")]


def test_the_strict_parser_of_openmetrics_reads_it_too() -> None:
    tally = Tally()
    tally.ended("sendgrid", Outcome.ACCEPTED, 0.3)
    store = Store({Status.SENT: 1}, {("sendgrid", None): 2}, Extent(NOW - 1, 1, 2, 3))
    text, content_type = exposition(reading(tally, store, accept={3: 1}), OPENMETRICS)
    families = {family.name: family for family in openmetrics.text_string_to_metric_families(text.decode())}

    assert content_type.startswith("application/openmetrics-text")
    assert families["mailsvc_attempts"].type == "counter"
    assert families["mailsvc_build"].samples[0].labels == {"version": "1.2.3", "database": "sqlite"}
    assert families["mailsvc_group_commit_rows"].type == "histogram"
    assert all(family.documentation for name, family in families.items() if name.startswith("mailsvc_"))
