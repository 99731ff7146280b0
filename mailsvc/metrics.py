"""The metrics in the words of Prometheus: what is counted and what is read when somebody asks, as one text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from .callback import Backlog
from .model import Outcome, ReportType, Resolution, Status
from .outbox.base import Extent
from .selector import ProviderState
from .tally import BOUNDS, Tally

STATES = ("open", "benched", "closed", "paused", "full")
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # rows in a group commit
UNSETTLED = "open"  # a doubt that nothing has settled yet


@dataclass(frozen=True, slots=True)
class Store:
    """What the database says; `doubts` as in Outbox."""

    counts: Mapping[Status, int]
    doubts: Mapping[tuple[str, Resolution | None], int]
    extent: Extent
    callbacks: Mapping[str, Backlog] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that is shown, as of `now` (Unix seconds). `store` is None when the database gives no answer.

    `callback_tries` counts by what came of them.
    `batches` are the sizes of group commits by what they write; `requests` are in flight.
    """

    now: float
    build: Mapping[str, str]
    tally: Tally
    batches: Mapping[str, Mapping[int, int]]
    providers: Sequence[ProviderState]
    requests: int
    store: Store | None
    callback_tries: Mapping[str, int] = field(default_factory=dict)


Packed = Mapping[str, Sequence[tuple[str, Mapping[str, str], float]]]


def exposition(reading: Reading, accept: str, processes: Mapping[str, Packed] | None = None) -> tuple[bytes, str]:
    """The text and its content type: OpenMetrics for those who `accept` it, else the older form.

    With `processes`, what each of them has counted, by its name, is shown with its name as a label.
    """
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(reading, processes))
    return encode(registry), content_type


def packed(reading: Reading) -> Packed:
    """What this process has counted, as JSON values, for the metrics of all. What is nothing is left out."""
    return {
        family.name: [(each.name, each.labels, each.value) for each in family.samples if each.value]
        for family in _own(reading)
    }


def _own(reading: Reading) -> Iterator[Metric]:
    """What is of one process, and not of the database."""
    yield InfoMetricFamily("mailsvc_build", "What runs.", dict(reading.build))
    yield from _work(reading)
    yield from _attempts(reading)
    yield from _reports(reading)
    yield from _providers(reading.providers)
    yield from ProcessCollector(registry=None).collect()


def _of_all(own: Metric, processes: Mapping[str, Packed]) -> Metric:
    """A family with the samples of all processes. What one has not counted is zero, as long as others count it."""
    family = Metric(own.name, own.documentation, own.type, own.unit)
    known = {} if own.type == "info" else {(each.name, frozenset(each.labels.items())): 0.0 for each in own.samples}
    for process, figures in processes.items():
        given = {(name, frozenset(labels.items())): value for name, labels, value in figures.get(own.name, ())}
        for (name, labels), value in (known | given).items():
            family.add_sample(name, dict(labels) | {"process": process}, value)
    return family


class _Collector:
    """Turns a reading into families. The base class of collectors is for those that are kept."""

    def __init__(self, reading: Reading, processes: Mapping[str, Packed] | None) -> None:
        self._reading, self._processes = reading, processes

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        for family in _own(self._reading):
            yield family if self._processes is None else _of_all(family, self._processes)
        yield _gauge("mailsvc_storage_up", "1 if the database gave an answer, else 0.", self._reading.store is not None)
        if self._reading.store:
            yield from _store(self._reading.store, self._reading.now)


def _work(reading: Reading) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "mailsvc_accepted_mails", "Mails taken in since the start of the process.", reading.tally.accepted
    )
    refused = CounterMetricFamily(
        "mailsvc_refused_requests", "Requests answered with an error, by its code.", labels=["code"]
    )
    for code, number in sorted(reading.tally.refused.items()):
        refused.add_metric([code], number)
    yield refused
    yield _gauge("mailsvc_requests_in_flight", "Requests that have no answer yet.", reading.requests)
    sizes = HistogramMetricFamily(
        "mailsvc_group_commit_rows", "Rows that were written together, by what they are.", labels=["batch"]
    )
    for batch, counts in reading.batches.items():
        within = [sum(number for size, number in counts.items() if size <= bound) for bound in SIZES]
        total = sum(counts.values())
        rows = sum(size * number for size, number in counts.items())
        sizes.add_metric([batch], _buckets(SIZES, [*within, total]), rows)
    yield sizes
    tries = CounterMetricFamily(
        "mailsvc_callback_tries", "Requests to callbacks that ended, by what came of them.", labels=["outcome"]
    )
    for outcome, number in reading.callback_tries.items():
        tries.add_metric([outcome], number)
    yield tries


def _attempts(reading: Reading) -> Iterator[Metric]:
    """Also those that have not happened: a rate needs a zero to rise from."""
    names = [state.name for state in reading.providers]
    ended = CounterMetricFamily(
        "mailsvc_attempts", "Attempts that ended, by provider and outcome.", labels=["provider", "outcome"]
    )
    for name in names:
        for outcome in Outcome:
            ended.add_metric([name, outcome.value], reading.tally.attempts[name, outcome])
    yield ended
    took = HistogramMetricFamily(
        "mailsvc_attempt_duration_seconds", "How long attempts took, by provider.", labels=["provider"]
    )
    for name in names:
        durations = reading.tally.durations[name]
        took.add_metric([name], _buckets(BOUNDS, list(accumulate(durations.counts))), durations.total)
    yield took


def _reports(reading: Reading) -> Iterator[Metric]:
    names = [state.name for state in reading.providers]
    told = CounterMetricFamily("mailsvc_reports", "New reports, by provider and type.", labels=["provider", "type"])
    unmatched = CounterMetricFamily(
        "mailsvc_unmatched_reports", "Reports for which no mail was found, by provider.", labels=["provider"]
    )
    given_up = CounterMetricFamily(
        "mailsvc_given_up_reports", "Reports that an error kept from being merged, by provider.", labels=["provider"]
    )
    for name in names:
        for kind in ReportType:
            told.add_metric([name, kind.value], reading.tally.reports[name, kind])
        unmatched.add_metric([name], reading.tally.unmatched[name])
        given_up.add_metric([name], reading.tally.given_up[name])
    yield told
    yield unmatched
    yield given_up
    yield CounterMetricFamily(
        "mailsvc_duplicates_confirmed", "Mails that reports have shown to be sent twice.", reading.tally.doubled
    )


def _providers(states: Sequence[ProviderState]) -> Iterator[Metric]:
    figures: tuple[tuple[str, str, Callable[[ProviderState], float]], ...] = (
        ("score", "Score, by which providers are compared.", lambda state: state.score),
        ("base_score", "Score when healthy, as configured.", lambda state: state.base),
        ("in_flight", "Attempts under way.", lambda state: state.in_flight),
        ("overdue", "Attempts under way whose answer is late.", lambda state: state.overdue),
    )
    for name, words, value in figures:
        family = GaugeMetricFamily(f"mailsvc_provider_{name}", words, labels=["provider"])
        for state in states:
            family.add_metric([state.name], value(state))
        yield family
    family = GaugeMetricFamily("mailsvc_provider_state", "1 for the state it is in.", labels=["provider", "state"])
    for state in states:
        for word in STATES:
            family.add_metric([state.name, word], state.state == word)
    yield family


def _store(store: Store, now: float) -> Iterator[Metric]:
    mails = GaugeMetricFamily("mailsvc_mails", "Mails in the database, by status.", labels=["status"])
    for status in Status:
        mails.add_metric([status.value], store.counts.get(status, 0))
    yield mails
    due = store.extent.oldest_due_at
    waits = 0.0 if due is None else max(0.0, now - due)
    yield _gauge("mailsvc_oldest_due_seconds", "How long the mail that is due longest has waited for its turn.", waits)
    doubts = GaugeMetricFamily(
        "mailsvc_doubts",
        "Attempts in the database that may have sent the mail, by provider and by what settled the doubt.",
        labels=["provider", "resolution"],
    )
    for (provider, resolution), number in store.doubts.items():
        doubts.add_metric([provider, resolution.value if resolution else UNSETTLED], number)
    yield doubts
    yield from _callbacks(store.callbacks, now)
    sizes = {
        "database": ("Size of the database.", store.extent.bytes),
        "wal": ("Size of SQLite's write-ahead log.", store.extent.log_bytes),
        "disk_free": ("Free bytes on the disk of the database.", store.extent.free_bytes),
    }
    for name, (words, value) in sizes.items():
        if value is not None:
            yield _gauge(f"mailsvc_{name}_bytes", words, value)


def _callbacks(backlogs: Mapping[str, Backlog], now: float) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("mailsvc_callback_backlog", "Deliveries that wait, by callback.", labels=["callback"])
    age = GaugeMetricFamily(
        "mailsvc_callback_oldest_due_seconds", "How long the first of them is due, by callback.", labels=["callback"]
    )
    for callback, backlog in backlogs.items():
        waiting.add_metric([callback], backlog.number)
        age.add_metric([callback], max(0.0, now - backlog.oldest_due_at))
    yield waiting
    yield age


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value)


def _buckets(bounds: Sequence[float], counts: Sequence[float]) -> list[tuple[str, float]]:
    """`counts` are cumulative, with one more for what is above all bounds."""
    names = [str(float(bound)) for bound in bounds]
    return list(zip([*names, "+Inf"], counts, strict=True))
