"""What reports make of a mail. Pure: the outboxes read a mail as `Known`, and write down what `merge` says.

Each recipient has one word, the furthest in ORDER of what was ever told about it, so that neither the order of reports
nor their number matters. The mail's word is the worst news of its recipients, see `_word`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .model import Event, Outcome, Report, ReportType, Status

# A recipient's word never goes back in this order. `rejected` comes before `delivered`, since one provider may refuse
# what another one delivers; a bounce and a complaint may come after the delivery.
ORDER = (Status.SENT, Status.DELAYED, Status.REJECTED, Status.DELIVERED, Status.BOUNCED, Status.COMPLAINED)
_RANK = {status: rank for rank, status in enumerate(ORDER)}
# What is still in the queue, or in doubt. A report ends that: the provider has the mail.
OPEN = frozenset({Status.SCHEDULED, Status.QUEUED, Status.SENDING, Status.UNCERTAIN})
# That somebody opened a mail proves that it was sent, and is no status of its own.
_WORDS = {
    ReportType.SENT: Status.SENT,
    ReportType.DELAYED: Status.DELAYED,
    ReportType.DELIVERED: Status.DELIVERED,
    ReportType.REJECTED: Status.REJECTED,
    ReportType.BOUNCED: Status.BOUNCED,
    ReportType.COMPLAINED: Status.COMPLAINED,
}
_ONCE = frozenset({ReportType.OPENED, ReportType.CLICKED})  # shown the first time only


def word(kind: ReportType, permanent: bool | None) -> Status:
    """What a report says about a recipient. A soft bounce is a delay: nothing is known for good."""
    if kind is ReportType.BOUNCED and permanent is False:
        return Status.DELAYED
    return _WORDS.get(kind, Status.SENT)


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient as stored; without a status of its own, it has the mail's."""

    position: int
    address: str
    status: Status | None


@dataclass(frozen=True, slots=True)
class Told:
    """A report that has been merged; `position` is the recipient's, None for all of them."""

    provider: str
    message_id: str | None
    position: int | None
    type: ReportType
    permanent: bool | None


@dataclass(frozen=True, slots=True)
class Known:
    """A mail as it stands. `tries` are the attempts: provider and outcome; `told` may leave out repetitions.

    `in_doubt`: the doubt about one of the attempts is open. `doubled`: it is known to have gone out twice.
    `erased` is what stands in place of the address of a recipient who was erased.
    """

    status: Status
    people: Sequence[Person]
    tries: Sequence[tuple[str, Outcome | None]]
    told: Sequence[Told]
    provider: str | None
    provider_message_id: str | None
    in_doubt: bool
    error: str | None
    doubled: bool
    erased: str


@dataclass(frozen=True, slots=True)
class Place:
    """Which recipient a report is about; None for all of them."""

    position: int | None


@dataclass(frozen=True, slots=True)
class Merged:
    """What there is to write: `places` has the place of each report, None if it cannot be about this mail. `people` are
    the statuses that change, by position; `events` are new. All else is how it is from now on.
    """

    status: Status
    places: Sequence[Place | None]
    people: Mapping[int, Status] = field(default_factory=dict)
    provider: str | None = None
    provider_message_id: str | None = None
    error: str | None = None
    events: Sequence[Event] = ()
    doubled: bool = False


def merge(known: Known, reports: Sequence[Report], now: float) -> Merged:
    """Merge new reports about one mail; with none, see whether what is known of it says more than it did."""
    places = [_place(known, report) for report in reports]
    fresh = [(report, place.position) for report, place in zip(reports, places, strict=True) if place is not None]
    told = [*known.told, *(_told(report, position) for report, position in fresh)]
    if not told:
        return Merged(known.status, places, {}, known.provider, known.provider_message_id, known.error)
    people = {person.position: _of(person, known.status, told) for person in known.people}
    late = any(word(each.type, each.permanent) is Status.DELAYED for each in told)
    status = _word(people.values(), late)
    if known.status in _RANK:
        status = max(known.status, status, key=_RANK.__getitem__)
    twice = "" if known.doubled else _twice(known, told)
    events = [*_events(known, fresh), *_settling(known, fresh, status, now)]
    if twice:
        events.append(Event("double", now, detail=twice))
    return Merged(
        status=status,
        places=places,
        people={
            person.position: people[person.position]
            for person in known.people
            if people[person.position] is not (person.status or status)
        },
        **_carrier(known, told),
        error=_error(fresh, status) or (known.error if known.status in _RANK else None),
        events=events,
        doubled=bool(twice),
    )


def _place(known: Known, report: Report) -> Place | None:
    """Which recipient a report is about. A provider that was never asked to send the mail knows nothing of it."""
    if report.provider not in {provider for provider, _ in known.tries}:
        return None
    if report.recipient is None:
        return Place(known.people[0].position if len(known.people) == 1 else None)
    address = report.recipient.lower()
    named = [person.position for person in known.people if person.address.lower() == address]
    erased = [person.position for person in known.people if person.address == known.erased]
    if named or len(erased) == 1:
        return Place((named or erased)[0])
    return None


def _told(report: Report, position: int | None) -> Told:
    return Told(report.provider, report.provider_message_id, position, report.type, report.permanent)


def _of(person: Person, mail: Status, told: Iterable[Told]) -> Status:
    """The furthest of what is known of a recipient. One that the mail was never sent to stays as it is."""
    words = [word(each.type, each.permanent) for each in told if each.position in (None, person.position)]
    if person.status is None:
        words.append(mail if mail in _RANK else Status.SENT)
    elif person.status in _RANK:
        words.append(person.status)
    elif not any(each.position == person.position for each in told):
        return person.status
    return max(words, key=_RANK.__getitem__)


def _word(people: Iterable[Status], late: bool) -> Status:
    """The mail's word: the worst news, and good news only when it is true of everybody who was not refused.

    `late`: for one of them it was delayed at some time, which is remembered until all have it.
    """
    words = {each for each in people if each in _RANK} or {Status.SENT}
    for worst in (Status.COMPLAINED, Status.BOUNCED):
        if worst in words:
            return worst
    if words <= {Status.REJECTED, Status.DELIVERED}:
        return Status.DELIVERED if Status.DELIVERED in words else Status.REJECTED
    return Status.DELAYED if late or Status.DELAYED in words else Status.SENT


def _carrier(known: Known, told: Sequence[Told]) -> dict[str, str | None]:
    """Who carried it: whoever did before, else the first one that tells of it."""
    provider = known.provider
    if provider is None or known.status not in _RANK:
        provider = told[-1].provider
    message_id = known.provider_message_id if provider == known.provider else None
    if message_id is None:
        message_id = next((each.message_id for each in told if each.provider == provider and each.message_id), None)
    return {"provider": provider, "provider_message_id": message_id}


def _error(fresh: Sequence[tuple[Report, int | None]], status: Status) -> str | None:
    """Why it came back, for a mail that has come back by these reports."""
    if status not in (Status.REJECTED, Status.BOUNCED):
        return None
    found = [report for report, _ in fresh if word(report.type, report.permanent) is status]
    return f"{found[0].provider}: {found[0].detail or found[0].type.value}" if found else None


def _events(known: Known, fresh: Sequence[tuple[Report, int | None]]) -> Iterator[Event]:
    addresses = {person.position: person.address for person in known.people}
    seen = {(each.type, each.position) for each in known.told}
    for report, position in fresh:
        if report.type in _ONCE and (report.type, position) in seen:
            continue
        seen.add((report.type, position))
        recipient = None if position is None else addresses[position]
        yield Event(
            report.type.value, report.at, report.provider, recipient, _detail(report, recipient == known.erased)
        )


def _detail(report: Report, erased: bool) -> str | None:
    kinds = {True: "hard", False: "soft", None: ""}
    kind = kinds[report.permanent] if report.type is ReportType.BOUNCED else ""
    return ": ".join(part for part in (kind, "" if erased else report.detail or "") if part) or None


def _settling(known: Known, fresh: Sequence[tuple[Report, int | None]], status: Status, now: float) -> Iterator[Event]:
    if fresh and (known.status in OPEN or known.in_doubt):
        report = fresh[0][0]
        yield Event("resolved", now, report.provider, None, f"by a report ({report.type.value}): {status.value}")


def _twice(known: Known, told: Sequence[Told]) -> str:
    """Who has sent it twice, in words; empty if nobody is known to have.

    A provider that says it dropped the mail has not sent it. One provider may have had it in two attempts: then it
    calls the two by different names.
    """
    if len(known.tries) < 2:
        return ""
    copies = {(each.provider, each.message_id, each.position) for each in told if each.type is not ReportType.REJECTED}
    for provider, outcome in known.tries:
        if outcome is Outcome.ACCEPTED:
            own = known.provider_message_id if provider == known.provider else None
            copies.add((provider, own, None))
    carriers = sorted({provider for provider, _, _ in copies})
    if len(carriers) > 1:
        return f"{' and '.join(carriers)} have both sent it"
    for carrier in carriers:
        asked = sum(provider == carrier for provider, _ in known.tries)
        if asked > 1 and _two_names(copies, alone=len(known.people) == 1):
            return f"{carrier} has sent it twice"
    return ""


def _two_names(copies: Iterable[tuple[str, str | None, int | None]], *, alone: bool) -> bool:
    """Whether a recipient was sent the mail under two names. A provider may have a name for each recipient."""
    names: dict[int | None, set[str]] = {}
    for _, message_id, position in copies:
        if message_id is not None and (alone or position is not None):
            names.setdefault(None if alone else position, set()).add(message_id)
    return any(len(each) > 1 for each in names.values())
