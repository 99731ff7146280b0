"""All errors of mailsvc, by what the caller must do.

MailsvcError
├── ConfigError              mend the environment; exit 78, one message with every fault
├── OwnedByAnother           wait or stop the other process; exit 75
├── InvalidMail              mend the request; 422, each fault with its field
├── NotFound                 there is no such thing for this caller; 404
├── Forbidden                use a key that allows it; 403
├── RateLimited              slower; 429 with Retry-After
├── Conflict                 the state forbids it; 409
├── IdempotencyKeyReused     use a new key for another body; 422
├── Unavailable              try again later; 503 with Retry-After
│   ├── StorageUnavailable
│   │   └── StorageBroken    the file can no longer be trusted; stop, exit 74
│   ├── QueueFull
│   ├── Overloaded           too much at a time
│   └── ShuttingDown
├── HookRefused              not by the provider, or not now; 401
├── HookUnreadable           by the provider, and in no form that is known; 400
└── SendError                what became of a request to a provider
    ├── NotSent              no byte of the request was written: another provider may be asked at once
    └── Unanswered           it was written, and no complete answer came: the mail may have gone out
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MailsvcError(Exception):
    """The root; never raised itself."""


class ConfigError(MailsvcError):
    """The environment cannot be used; `faults` holds one sentence for each fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("mailsvc cannot start:\n" + "\n".join(f"  - {fault}" for fault in self.faults))


class OwnedByAnother(MailsvcError):
    """Another process owns the database file, or the port."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One fault of a request: `field` as the caller wrote it, a stable `code`, a sentence that says what to do."""

    field: str
    code: str
    message: str


class InvalidMail(MailsvcError):
    """The request is well formed, but this mail cannot be accepted."""

    def __init__(self, faults: Sequence[FieldFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in self.faults))


class NotFound(MailsvcError):
    """No such thing, or not for this caller: the two are never told apart."""


class Forbidden(MailsvcError):
    """The caller's key does not allow it."""


class RateLimited(MailsvcError):
    """The caller did it too often; `wait` is in seconds."""

    def __init__(self, message: str, wait: float) -> None:
        self.wait = wait
        super().__init__(message)


class Conflict(MailsvcError):
    """The state of the thing forbids what was asked; `code` names the kind."""

    def __init__(self, message: str, code: str = "conflict") -> None:
        self.code = code
        super().__init__(message)


class IdempotencyKeyReused(MailsvcError):
    """The key was used before with another body."""


class Unavailable(MailsvcError):
    """Not now; `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int = 5) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class StorageUnavailable(Unavailable):
    """The outbox cannot be written or read at the moment."""


class StorageBroken(StorageUnavailable):
    """A write that was promised may not be on the disk; nothing may be accepted any more."""


class QueueFull(Unavailable):
    """As many mails wait as are allowed to."""


class Overloaded(Unavailable):
    """More than can be served at a time."""


class ShuttingDown(Unavailable):
    """The process is about to end."""


class HookRefused(MailsvcError):
    """A webhook request whose signature, secret or time is wrong."""


class HookUnreadable(MailsvcError):
    """A webhook request that is genuine and makes no sense."""


class SendError(MailsvcError):
    """A request to a provider that has no answer."""


class NotSent(SendError):
    """No byte of the request was written."""


class Unanswered(SendError):
    """The request was written, in whole or in part, and no complete answer came back."""
