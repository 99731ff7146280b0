"""The outbox: what a store of mails must be able to do. One method is one transaction; `now` comes from the caller.

All methods raise StorageUnavailable when the store cannot be read or written now, StorageBroken when it must not be
trusted any more. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ..access import ApiKey
from ..addition import Added, Addition, Batch
from ..attempt import Beginning, Settlement
from ..callback import CallbackStore, Glimpse
from ..council import Council
from ..hours import Hour
from ..listing import Listing, Page
from ..model import LANES, Attachment, Mail, Priority, Record, Report, Resolution, Status
from ..moves import Moves
from ..suppression import SuppressionStore
from ..template import TemplateStore

# For how long a report is kept that is about no mail of ours, in seconds.
KEEP_UNMATCHED = 7 * 86_400.0
# Seconds after which a report without our id is looked at again: the provider's answer that names the mail may take as
# long as its time-out, a doubt about it longer.
LOOK_AGAIN = (2.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
NEWEST = 1000  # mails to a recipient among which one is looked for by the provider's name for it


# Mails that are settled and can be sent on their way again by request.
RETRYABLE = frozenset({Status.FAILED, Status.EXPIRED, Status.CANCELED, Status.REJECTED, Status.SUPPRESSED})
# What is said of a mail that it was too late to send.
TOO_LATE = "it was not sent by expires_at"
TOO_LATE_IN_DOUBT = "it was not sent again by expires_at, and a provider may have it"

# What stands in place of a recipient who was erased, and of the subject of a mail to one.
ERASED_ADDRESS, ERASED_SUBJECT = "erased@erased.invalid", "(erased)"


@dataclass(frozen=True, slots=True)
class Retried:
    """How many mails are on their way again, and how many could not be since they have no bodies any more.

    `after` is the last mail that was looked at, if there may be more behind it.
    """

    retried: int
    skipped: int
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is. `oldest_due_at` is since when the mail is due that has waited longest for its turn; None if
    nothing is due yet. The sizes are None where the store cannot tell them.
    """

    oldest_due_at: float | None
    bytes: int | None = None
    log_bytes: int | None = None
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a look at a database shows. `schema` of the `newest` migrations have run, 0 before the first start.

    `file` is the database's, where it is one, and `owner` says in words who has it. `last_mail_at` is when the newest
    mail was accepted, `clock` what the database's own clock says: Unix times, None where there is none. `remarks` are
    what is not as it should be, each with what to do. `callbacks` is None where they could not be looked at.
    """

    place: str
    schema: int
    newest: int
    file: Path | None = None
    owner: str = ""
    last_mail_at: float | None = None
    clock: float | None = None
    remarks: tuple[tuple[str, str], ...] = ()
    callbacks: tuple[Glimpse, ...] | None = None


class Fate(StrEnum):
    """What became of a kept report when it was looked at."""

    MERGED = "merged"
    WAITS = "waits"  # no mail was found yet; the answer that names it may be under way
    UNMATCHED = "unmatched"  # it is about no mail of ours
    FAILED = "failed"  # an unexpected error came in the way; it is tried again
    GIVEN_UP = "given_up"  # the same, for the last time


@dataclass(frozen=True, slots=True)
class Folded:
    """A report, and what it did. `status` is where the mail stands, `was` where it stood before this batch; both None
    without a mail. `doubled`: by now it is known that the mail was sent twice, and it was not before. `error` is what
    came in the way.
    """

    report: Report
    fate: Fate
    mail_id: str | None = None
    was: Status | None = None
    status: Status | None = None
    doubled: bool = False
    error: Exception | None = None


class Change(StrEnum):
    """What another process can have changed."""

    DUE = "due"  # there are new mails that are due
    PROVIDERS = "providers"  # what is known of a provider


@dataclass(frozen=True, slots=True)
class Erasure:
    """How many mails were erased in this step; `waiting` are those to this recipient that are not final yet."""

    erased: int
    waiting: int


class Outbox(Protocol):
    """The store of mails. Batches in, one result for each row out, in the same order.

    A row that cannot be stored gives an exception in its place and spoils no other row.

    `shared` says whether other processes may use it at the same time. Then a process that does not call `renew` for
    `lease` seconds is taken for dead, and what it had claimed and begun is taken over. `council` is where they agree
    about providers; None where nobody else may be.
    """

    @property
    def shared(self) -> bool: ...  # noqa: D102 - see above

    @property
    def lease(self) -> float: ...  # noqa: D102 - see above

    @property
    def council(self) -> Council | None: ...  # noqa: D102 - see above

    @property
    def suppressions(self) -> SuppressionStore: ...  # noqa: D102 - who is not mailed any more

    @property
    def callbacks(self) -> CallbackStore: ...  # noqa: D102 - whom to tell of what becomes of mails, and what was told

    @property
    def templates(self) -> TemplateStore: ...  # noqa: D102 - what mails are made from

    async def recover(self, now: float, on_uncertain_after: float) -> list[str]:
        """At start, and again and again if it is shared: give back what an ended owner had claimed; close its open
        attempts as `interrupted`. Where it is not shared, every owner but this one has ended.

        A mail with an open attempt becomes `uncertain`, with an event that says so. It is due now if a payload was
        kept for that provider; else `on_uncertain_after` seconds from now, or never if its policy is `hold`. Returns
        the ids of those mails. All others keep their `due_at`.
        """

    async def renew(self, ids: Sequence[str], now: float) -> None:
        """Hold these mails, claimed or begun, for another `lease`. What is taken over already stays so."""

    def listen(self, heard: Callable[[Change], None]) -> None:
        """Call `heard` when another process may have changed something. News may be missed, and may be none."""

    async def add(self, additions: Sequence[Addition]) -> list[Added | Exception]:
        """Store mails durably. IdempotencyKeyReused for a row whose key was used with another fingerprint.

        Who is on the suppression list is left out at once, as in `claim`; the answer tells what the mail was before.
        """

    async def add_batch(self, batch: Batch) -> str:
        """Store mails durably, all or none; the answer to give. It is that of the first request with the same key,
        whose mails are those that are stored. IdempotencyKeyReused if that one was another.
        """

    async def first_answer(self, owner: str, key: str, fingerprint: str) -> Added | str | None:
        """What the first request with this key was told, by a look alone: of a mail, or of a batch; None if there was
        none. Raises IdempotencyKeyReused if that one was another.
        """

    async def claim(self, room: int, now: float, lease: float, lanes: Sequence[Priority] = LANES) -> list[Mail]:
        """Up to `room` mails that are due, for `lease` seconds: from one of the `lanes` after the other, in each the
        oldest first. A claim that is lost is due again.

        A mail in an attempt is never claimed. `to`, `cc` and `bcc` leave out whoever has a status of its own, as those
        on the suppression list have by then. A mail with nobody left in `to` is `suppressed`, and not among them.
        `doubted` are the providers of attempts in doubt, but for doubts that the same key has settled.
        """

    async def begin(self, beginnings: Sequence[Beginning]) -> list[Exception | None]:
        """Write attempts down, durably, before their first byte. The mails are `sending` from here on.

        Conflict where the mail must not be sent now: it is unknown, settled, in another attempt, or `n` is not next.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool | Exception]:
        """Write down how attempts ended, durably. False where it changed nothing: settled before, taken
        over after its lease, or unknown.

        May be repeated with the same rows without harm.
        """

    async def release(self, ids: Sequence[str], due_at: float) -> None:
        """Give claimed mails back that nobody was asked to send: no try and no round is lost."""

    async def retry(self, ids: Sequence[str], now: float) -> list[bool]:
        """Send mails on their way again that are RETRYABLE and have their bodies; False for all others.

        They are due now, with no rounds used up and all the time again until they are given up; what happened stays. An
        `expires_at` that is over is gone. Recipients are asked for again who were rejected or suppressed with the
        whole mail.
        """

    async def expire(self, now: float) -> list[tuple[str, Status]]:
        """Some of the mails that wait and that it is too late to send: they are `expired`, or `uncertain` and due no
        more where a provider may have them; an event says so. One in an attempt, or in doubt already, is left alone.
        """

    async def report(self, reports: Sequence[Report], now: float) -> list[bool | Exception]:
        """Keep what providers tell, durably, each report once. True for one that is new, False for one that is known by
        its `event`; Conflict where its token was used for another event.
        """

    async def fold(self, room: int, now: float) -> list[Folded]:
        """Merge up to `room` kept reports into their mails, durably, in the order in which they came.

        A mail is found by our id, else by what its provider calls it, among the mails to that recipient. What merge.py
        says is written down with the report: status, recipients, events. A mail that was in the queue or in doubt is
        settled by that, and due no more. One in mid-attempt keeps its attempt, whose end changes nothing else.

        A report that an unexpected error keeps from being merged keeps no other waiting: it is tried again as
        LOOK_AGAIN says, and given up then.
        """

    async def get(self, id: str, owner: str | None = None) -> Record | None:  # noqa: A002 - the field's own name
        """All that is known of a mail; None if there is none for this owner (None: any owner)."""

    async def mail(self, id: str) -> Mail | None:  # noqa: A002 - the field's own name
        """The mail itself, with its texts, all its recipients and the list of its files; None if there is none."""

    async def attachments(self, id: str) -> Sequence[Attachment]:  # noqa: A002 - the field's own name
        """The attachments of a mail with their content; none if it has none, or is unknown or erased."""

    async def list(self, page: Page) -> Listing:
        """Mails, newest first; none after an id that is unknown.

        Of those that pass one of several filters, the WALK newest are looked at, of the filter for which these reach
        back furthest. So no list takes long, however many mails pass each filter and however few pass all.
        """

    async def moved(self, since: float, limit: int) -> Moves:
        """Up to `limit` of the mails that have moved since a time, the last ones, each once."""

    async def counts(self) -> dict[Status, int]:
        """How many mails are in each status; kept, not counted, so it may be asked for every request."""

    async def hours(self, since: float, until: float) -> Sequence[Hour]:
        """The same of the mails of each hour from that of `since` to that of `until`, of those that have any."""

    async def doubts(self) -> dict[tuple[str, Resolution | None], int]:
        """How many attempts were ever in doubt, by provider and by what settled the doubt; None: still open."""

    async def extent(self, now: float) -> Extent:
        """How long the oldest mail is due, and how much room all takes. No index is read from end to end for it."""

    async def copy(self) -> BinaryIO:
        """A consistent copy of everything, made while others go on; gone when the file is closed.

        Conflict where the database has a tool of its own for that, which the message names.
        """

    async def save_providers(self, states: Sequence[dict[str, Any]]) -> None:
        """Keep what is known of providers, by their `name`, over a restart. Not durable to the last second."""

    async def load_providers(self) -> Sequence[dict[str, Any]]:
        """The states as last saved, in the order of their names."""

    async def add_key(self, key: ApiKey) -> None:
        """Keep an API key, durably. Conflict if there is one with its id."""

    async def revoke_key(self, id: str, now: float) -> bool:  # noqa: A002 - the field's own name
        """The key is revoked, durably. False if there is none with this id, or it was revoked before."""

    async def keys(self) -> Sequence[ApiKey]:
        """All API keys, revoked ones too, oldest first."""

    async def ping(self) -> None:
        """Raise what an addition would meet now."""

    async def tidy(self, now: float) -> bool:
        """Housekeeping in one small step, for a quiet moment: forgets idempotency keys older than a day, and reports
        that were about no mail after KEEP_UNMATCHED.

        True while more is left to do.
        """

    async def forget(self, now: float, bodies_before: float, mails_before: float) -> bool:
        """Retention, in one small step. True while more is left to do.

        The bodies of mails that are final since before a time are erased, and mails without bodies that are final since
        before another one are deleted.
        """

    async def erase(self, address: str, now: float) -> Erasure:
        """Erase a recipient, in any case, from final mails, in one small step; call it again until nothing is erased.

        The bodies, the subject and what providers said are gone, and ERASED_ADDRESS stands in place of the address.
        """

    async def close(self) -> None:
        """Finish what runs and let go of the store."""
