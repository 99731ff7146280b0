"""The nouns of mailsvc: a mail, its recipients, its attempts, its states. How a request is read is not told here."""

from __future__ import annotations

import math
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from .address import Mailbox
from .template import Origin


class Status(StrEnum):
    """Where a mail is; one word, exclusive. docs/architecture.md draws the ways between them."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    UNCERTAIN = "uncertain"
    SENT = "sent"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"
    SUPPRESSED = "suppressed"

    @property
    def settled(self) -> bool:
        """Whether the mail has left the queue. An uncertain mail has: it waits for news, not for its turn."""
        return self not in (Status.SCHEDULED, Status.QUEUED, Status.SENDING)


class Outcome(StrEnum):
    """What became of one attempt; the same word in code, database, API and docs."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    RECIPIENT_REFUSED = "recipient_refused"
    SENDER_REFUSED = "sender_refused"
    UNAUTHORIZED = "unauthorized"
    SUSPENDED = "suspended"
    QUOTA = "quota"
    RATE_LIMITED = "rate_limited"
    DOWN = "down"
    UNANSWERED = "unanswered"
    INTERRUPTED = "interrupted"

    @property
    def maybe_sent(self) -> bool:
        """Whether the mail may have gone out although nobody said so."""
        return self in (Outcome.UNANSWERED, Outcome.INTERRUPTED)


class OnUncertain(StrEnum):
    """What to do with a mail that a provider may or may not have taken."""

    RESEND = "resend"
    HOLD = "hold"


class Priority(StrEnum):
    """Which mails go first among those that are due."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def lane(self) -> int:
        """The priority as a number, the first to go first."""
        return LANES.index(self)


LANES = (Priority.HIGH, Priority.NORMAL, Priority.LOW)


class Resolution(StrEnum):
    """How a doubt about an attempt was settled."""

    SAME_KEY = "same_key"  # the provider answered when it was asked again with the same idempotency key
    RESEND = "resend"  # the mail was given to somebody, at the risk of a double
    HAND = "hand"  # a person said what to do
    REPORT = "report"  # the provider told it later
    LOOKUP = "lookup"  # the provider told it when asked for the mail


@dataclass(frozen=True, slots=True)
class Payload:
    """What a provider was handed that knows a repeated request by its `key`. `at` is when the key was first used.

    `body` holds no credentials.
    """

    provider: str
    key: str
    body: bytes = field(repr=False)
    at: float


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a mail. With a `content_id` it is inline: the HTML shows it by `cid:`.

    `size` is in bytes. `content` is empty where only the list of files is asked for.
    """

    filename: str
    content_type: str
    content_id: str | None
    size: int
    content: bytes = field(default=b"", repr=False)

    @property
    def base64(self) -> str:
        """The content as base64 without line breaks."""
        return b64encode(self.content).decode()


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as accepted and as claimed from the outbox. Times are Unix seconds.

    `content` is markdown; it excludes `html` and `text`, of which at least one is there otherwise.
    Nobody stands twice in `to`, `cc` and `bcc`. The names in `headers` differ in more than case.
    `attachments` come from the outbox without their content.
    `rounds` are the rounds used up, `attempts` the attempts made so far, `doubted` the providers that may have it.
    `uncertain`: claimed while it was in doubt, so that the doubt decides who may be asked.
    It is not sent after `expires_at`. `tried_since` is when its way began, if that is later than `created_at`;
    `retries` is how often it was sent on its way again by request. The body of a `sensitive` one goes once a provider
    has it, or it has ended otherwise. What a `template` made stands in `subject`, `html` and `text`.
    """

    id: str
    created_at: float
    sender: Mailbox
    to: tuple[Mailbox, ...]
    subject: str
    on_uncertain: OnUncertain
    content: str | None = None
    html: str | None = None
    text: str | None = None
    rounds: int = 0
    attempts: int = 0
    doubted: frozenset[str] = frozenset()
    uncertain: bool = False
    payloads: tuple[Payload, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    ignore_suppression: bool = False
    expires_at: float | None = None
    priority: Priority = Priority.NORMAL
    sensitive: bool = False
    tried_since: float | None = None
    retries: int = 0
    template: Origin | None = None

    @property
    def people(self) -> list[tuple[str, Mailbox]]:
        """All recipients, each after its role."""
        roles = (("to", self.to), ("cc", self.cc), ("bcc", self.bcc))
        return [(role, each) for role, boxes in roles for each in boxes]

    def expired(self, now: float) -> bool:
        """Whether it is too late to send it."""
        return self.expires_at is not None and now >= self.expires_at

    @property
    def mailboxes(self) -> tuple[Mailbox, ...]:
        """Everybody who is named in it, the sender first."""
        return (self.sender, *self.to, *self.cc, *self.bcc, *self.reply_to)

    @property
    def attached(self) -> int:
        """Bytes of all attachments."""
        return sum(attachment.size for attachment in self.attachments)

    @property
    def size(self) -> int:
        """Bytes of everything, about."""
        texts = len(self.content or "") + len(self.html or "") + len(self.text or "")
        return texts + self.attached


@dataclass(frozen=True, slots=True)
class Message:
    """What a provider is asked to send: everything rendered, nothing left to decide. `id` is the mail's id.

    At least one of `html` and `text` is not empty. The rest is as in the mail, with the attachments' content.
    """

    id: str
    sender: Mailbox
    to: tuple[Mailbox, ...]
    subject: str
    html: str | None
    text: str | None
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    retries: int = 0

    @property
    def key(self) -> str:
        """By what a provider may know that it has the mail already: a UUID, another one after each retry by request."""
        return str(uuid5(UUID(self.id), str(self.retries))) if self.retries else self.id

    @property
    def everybody(self) -> tuple[Mailbox, ...]:
        """All who get it: `to`, `cc` and `bcc`."""
        return (*self.to, *self.cc, *self.bcc)

    @property
    def message_id(self) -> str:
        """The `Message-ID` header, fixed for the mail over all attempts, so that readers can drop a double."""
        return f"<{self.id}@{self.sender.domain}>"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a mail, with its own status."""

    address: str
    name: str
    role: str
    status: Status


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to one provider. `outcome` is None while it runs; `considered` is what the selector knew then.

    `resolved` is how the doubt was settled that it left; None while the doubt is open, and where there was none.
    """

    n: int
    provider: str
    outcome: Outcome | None
    http_status: int | None
    detail: str | None
    started_at: float
    ended_at: float | None
    score: float
    considered: list[dict[str, Any]]
    resolved: Resolution | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a mail outside of an attempt's own row."""

    type: str
    at: float
    provider: str | None = None
    recipient: str | None = None
    detail: str | None = None


class ReportType(StrEnum):
    """What a provider tells about a mail after it has taken it; the same word for all providers."""

    SENT = "sent"  # it is on its way
    DELAYED = "delayed"  # it could not be delivered yet
    DELIVERED = "delivered"
    REJECTED = "rejected"  # taken, and then not sent
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider tells later about a mail. `at` is the Unix time at which it happened, by the provider's clock.

    `event` identifies the report: the provider may repeat it, always with the same text. `mail_id` is our id, where the
    report carries it; `provider_message_id` is what the provider calls the mail, in the form that its answer to the
    request has. `recipient` is None where the report does not say which one it is about. `permanent` tells a hard
    bounce from a soft one, and is None where the provider does not know, or it is no bounce. `detail` is one harmless
    line. `token` may be used for this one report and no other.
    """

    type: ReportType
    at: float
    provider: str
    event: str
    mail_id: str | None = None
    provider_message_id: str | None = None
    recipient: str | None = None
    permanent: bool | None = None
    detail: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known of a mail. `attempts` and `events` are empty in a list. `erased_at`: its bodies are gone."""

    id: str
    status: Status
    sender: str
    subject: str
    recipients: tuple[Recipient, ...]
    created_at: float
    updated_at: float
    due_at: float | None
    provider: str | None
    provider_message_id: str | None
    error: str | None
    erased_at: float | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    expires_at: float | None = None
    priority: Priority = Priority.NORMAL
    sensitive: bool = False
    template: Origin | None = None
    attempts: tuple[Attempt, ...] = ()
    events: tuple[Event, ...] = ()


def first_id(at: float) -> str:
    """The smallest of all ids of that moment, and greater than all that are older."""
    text = f"{max(0, math.ceil(at * 1000)):012x}"
    return f"{text[:8]}-{text[8:12]}-7000-8000-000000000000"


def new_id(now: float) -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds and 74 random bits; ids sort by time and cannot be guessed."""
    number = int(now * 1000) << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
