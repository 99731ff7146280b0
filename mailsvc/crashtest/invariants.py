"""What must hold of every mail, whatever was killed: the promises as a checker. How mails are sent is not told here.

I1  Every accepted mail was taken by a provider, or visibly waits, is in doubt or has failed.
I2  A mail is taken once more than once only after as many attempts were on record as doubtful.
I3  Every request that a provider got was written down as an attempt before.
I4  `sent` is said only of a mail that the provider named in it has taken.
I5  One idempotency key is one mail, and there are no others.
I6  With a provider that knows repeated requests there are no doubles; with `hold` there are none either.
I7  When the faults are over, everything is settled that can be.
G2  A kill leaves no more mails in doubt than were in flight.

(G3, that the metrics count as many doubts as the mails show, is for who can ask for both.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

DOUBTFUL = frozenset({"unanswered", "interrupted"})
VISIBLE = frozenset({"scheduled", "queued", "sending", "uncertain", "failed", "rejected", "expired", "canceled"})
WAITING = frozenset({"scheduled", "queued", "sending"})


@dataclass(frozen=True, slots=True)
class Posted:
    """A mail that was answered with 202: its id, the idempotency key it was posted with, and its policy."""

    id: str
    key: str
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A line of a provider's ledger. `at` is Unix time; `accepted`: the mail was taken by this very request."""

    at: float
    provider: str | None
    mail_id: str | None
    accepted: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was seen from outside. `mails` are the answers of `GET /email/<id>`, None where it was a 404.

    `dedupes`: the provider honours idempotency keys. `in_flight` is how many attempts there can be at a time.
    """

    posted: Sequence[Posted]
    mails: Mapping[str, Mapping[str, Any] | None]
    ledger: Sequence[Request]
    dedupes: bool
    in_flight: int = 64


@dataclass(frozen=True, slots=True)
class Findings:
    """The count, and a sentence for each promise that was broken.

    `doubled` counts hand-overs beyond the first, `unexplained` those of them without a doubt on record before.
    `in_doubt` counts attempts, `held` the mails that wait for a person at the end.
    """

    accepted: int
    handed_over: int
    lost: int
    doubled: int
    in_doubt: int
    unexplained: int
    held: int
    broken: tuple[str, ...]


def examine(evidence: Evidence) -> Findings:
    """Hold the evidence against the promises."""
    taken: dict[str, list[float]] = defaultdict(list)
    for request in evidence.ledger:
        if request.accepted and request.mail_id is not None:
            taken[request.mail_id].append(request.at)
    ids = list(dict.fromkeys(mail.id for mail in evidence.posted))
    lost = [mail_id for mail_id in ids if mail_id not in taken and _status(evidence, mail_id) not in VISIBLE]
    unexplained = {mail_id: count for mail_id in taken if (count := _unexplained(evidence, mail_id, taken[mail_id]))}
    return Findings(
        accepted=len(ids),
        handed_over=sum(mail_id in taken for mail_id in ids),
        lost=len(lost),
        doubled=sum(len(times) - 1 for times in taken.values()),
        in_doubt=sum(map(doubtful, evidence.mails.values())),
        unexplained=sum(unexplained.values()),
        held=sum(_status(evidence, mail_id) == "uncertain" for mail_id in ids),
        broken=(
            *(f"I1: {mail_id} is lost: {_status(evidence, mail_id)}" for mail_id in lost),
            *(
                f"I2: {mail_id} was taken {len(taken[mail_id])} times, {n} unexplained"
                for mail_id, n in unexplained.items()
            ),
            *_unannounced(evidence),
            *_untrue(evidence, taken),
            *_shared_keys(evidence),
            *_forbidden_doubles(evidence, taken),
            *_unsettled(evidence),
            *_too_many_at_once(evidence),
        ),
    )


def doubtful(mail: Mapping[str, Any] | None) -> int:
    """How many attempts were in doubt."""
    return len(_doubts(mail))


def _status(evidence: Evidence, mail_id: str) -> str:
    mail = evidence.mails.get(mail_id)
    return "unknown" if mail is None else str(mail["status"])


def _doubts(mail: Mapping[str, Any] | None) -> list[float]:
    """When the attempts in doubt were on record as such, oldest first."""
    attempts = mail["attempts"] if mail else []
    return sorted(seconds(attempt["ended_at"]) for attempt in attempts if attempt["outcome"] in DOUBTFUL)


def _unexplained(evidence: Evidence, mail_id: str, times: Sequence[float]) -> int:
    """How many hand-overs beyond the first had no doubt of their own on record before."""
    doubts, unexplained = _doubts(evidence.mails.get(mail_id)), 0
    for at in sorted(times)[1:]:
        if doubts and doubts[0] <= at:
            doubts.pop(0)
        else:
            unexplained += 1
    return unexplained


def _unannounced(evidence: Evidence) -> Iterator[str]:
    """I3. An attempt's time is cut to milliseconds, so it is never later than it was."""
    begun: dict[tuple[str, str], list[float]] = defaultdict(list)
    for mail_id, mail in evidence.mails.items():
        for attempt in mail["attempts"] if mail else ():
            begun[mail_id, attempt["provider"]].append(seconds(attempt["started_at"]))
    for request in sorted(evidence.ledger, key=lambda request: request.at):
        if request.mail_id is None or request.mail_id not in evidence.mails:
            continue  # cut off before it said which mail it was; or a mail whose 202 never arrived
        times = begun[request.mail_id, request.provider or ""]
        if times and min(times) <= request.at:
            times.remove(min(times))
        else:
            yield f"I3: {request.provider} got {request.mail_id}, and no attempt had been written down"


def _untrue(evidence: Evidence, taken: Mapping[str, Sequence[float]]) -> Iterator[str]:
    by_provider = {(request.mail_id, request.provider) for request in evidence.ledger if request.accepted}
    for mail_id, mail in evidence.mails.items():
        if mail is None:
            continue
        if mail["status"] == "sent" and (mail_id, mail["provider"]) not in by_provider:
            yield f"I4: {mail_id} is said to be sent by {mail['provider']}, which never took it"
        if mail["status"] in ("failed", "rejected") and not mail["error"]:
            yield f"I4: {mail_id} is {mail['status']} and does not say why"
        if mail["status"] == "failed" and mail_id in taken:
            yield f"I4: {mail_id} is said to have failed, but was taken"


def _shared_keys(evidence: Evidence) -> Iterator[str]:
    ids: dict[str, set[str]] = defaultdict(set)
    for mail in evidence.posted:
        ids[mail.key].add(mail.id)
    yield from (f"I5: {key} made {len(found)} mails" for key, found in ids.items() if len(found) > 1)
    told = {mail.id for mail in evidence.posted}
    strangers = {request.mail_id for request in evidence.ledger if request.accepted} - told - {None}
    yield from (f"I5: {mail_id} was taken, and nobody was ever told of it" for mail_id in strangers)
    owners = Counter(mail_id for found in ids.values() for mail_id in found)
    yield from (f"I5: {mail_id} belongs to {count} keys" for mail_id, count in owners.items() if count > 1)


def _forbidden_doubles(evidence: Evidence, taken: Mapping[str, Sequence[float]]) -> Iterator[str]:
    held = {mail.id for mail in evidence.posted if mail.hold}
    for mail_id, times in taken.items():
        if len(times) > 1 and (evidence.dedupes or mail_id in held):
            why = "whose provider knows repeated requests" if evidence.dedupes else "which says hold"
            yield f"I6: {mail_id}, {why}, was taken {len(times)} times"


def _unsettled(evidence: Evidence) -> Iterator[str]:
    held = {mail.id for mail in evidence.posted if mail.hold}
    for mail_id, mail in evidence.mails.items():
        status = mail["status"] if mail else None
        if status in WAITING or (status == "uncertain" and (evidence.dedupes or mail_id not in held)):
            yield f"I7: {mail_id} is still {status}"


def _too_many_at_once(evidence: Evidence) -> Iterator[str]:
    """All attempts that one start found interrupted were ended at the same instant."""
    attempts = (attempt for mail in evidence.mails.values() if mail for attempt in mail["attempts"])
    starts = Counter(attempt["ended_at"] for attempt in attempts if attempt["outcome"] == "interrupted")
    for at, count in starts.items():
        if count > evidence.in_flight:
            yield f"G2: the start at {at} found {count} mails in doubt; {evidence.in_flight} can be in flight"


def seconds(time: str) -> float:
    """RFC 3339 as Unix time."""
    return datetime.fromisoformat(time).timestamp()
