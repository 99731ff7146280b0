"""A provider translates: a message into a request, an answer into a result. It does no I/O and has no clock."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from typing import Any, ClassVar, final

from ..ability import Ability
from ..hook import Heard, Hook, tidy
from ..model import Mail, Message, Outcome
from ..wire import Answer, HttpRequest, Request, Response, describe, from_json, one_line, retry_after

MAX_DETAIL = 1000
MAX_MESSAGE_ID = 255
RATE_PAUSE = 10.0  # seconds a provider rests that refuses for the moment and does not say for how long
_MIN_SECRET = 4  # characters; masking a shorter value would make a text unreadable
_TIMED_OUT = frozenset({408, 504, 524})  # server, gateway or Cloudflare stopped waiting: the mail may be under way


class Can(Flag):
    """What a provider is able to do beyond sending."""

    NOTHING = 0
    DEDUPE = auto()  # honours an idempotency key
    REPORT = auto()  # tells later what became of a mail
    LOOKUP = auto()  # finds a mail by our id


# A text to some recipients, and nothing beside it.
PLAIN = Ability(cc=0, bcc=0, headers=0, reply_to=0, attachments=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says about one provider: its variables by name (secrets, so never shown), URL and score.

    `hook_key` is what proves that a webhook request is genuine; None if no reports are to be taken.
    """

    values: Mapping[str, str] = field(repr=False)
    url: str | None = field(default=None, repr=False)
    score: float = 50.0
    hook_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What an answer means.

    `detail` is for the operator: one line, no secret, at most 1,000 characters. `retry_after` is in seconds.
    `refused` maps the recipients of a partial acceptance that were left out, spelled as in the message, to the reason.
    `untold` are the recipients of an acceptance for whom nothing was said, spelled as in the message.
    `soft`: rate limited, and it is this mail or its recipients that have to wait, nobody else's.
    `stuck`: accepted, but the provider says that it will not leave; it may still leave later.
    `key_taken`: unanswered, because the provider has got something under the same idempotency key and does not say what
    became of it. `same_mail`: it was this very mail, so one that it may have had is known to be there.
    A provider leaves `http_status` alone and need not mask or shorten texts: `Provider.read` does it.
    """

    outcome: Outcome
    detail: str = ""
    http_status: int | None = None
    provider_message_id: str | None = None
    retry_after: float | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    untold: tuple[str, ...] = ()
    soft: bool = False
    stuck: bool = False
    key_taken: bool = False
    same_mail: bool = False


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a look-up told of a mail. `allowed` is False if the key may not look; then nobody has to try again."""

    found: bool
    allowed: bool = True
    provider_message_id: str | None = None


class Provider(ABC):
    """One e-mail service. A file in this folder with a subclass is all it takes to add one.

    `rank` orders the providers for the default scores, lowest first. `env` are the variables that switch it on, the
    provider's own first, `optional` those that may be set beside them; `example` shows those that have a form, `shapes`
    a pattern of those whose form is known, and the form in words. `default_url` is None for one without a URL setting.
    `ability` says what it can carry: a mail that is beyond it goes to another provider.
    `key_life` is for how many seconds one that can DEDUPE remembers an idempotency key, at the least.
    `hook_words`: of one that can REPORT, what its webhook key is and where to find it;
    `hook_url_signed`: its signatures are about the URL, too.
    """

    name: ClassVar[str]
    rank: ClassVar[int]
    env: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[Mapping[str, str]] = {}
    shapes: ClassVar[Mapping[str, tuple[str, str]]] = {}
    can: ClassVar[Can] = Can.NOTHING
    ability: ClassVar[Ability] = PLAIN
    default_url: ClassVar[str | None] = None
    key_life: ClassVar[float] = 0.0
    hook_words: ClassVar[str] = ""
    hook_url_signed: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = (settings.url or self.default_url or "").rstrip("/")

    def __repr__(self) -> str:
        return f"<provider {self.name}>"

    @classmethod
    def faults(cls, settings: Settings) -> list[str]:
        """What is wrong with the settings, one sentence each, without their values."""
        bad_key = [cls.hook_fault(settings.hook_key) if settings.hook_key else None]
        return [fault for fault in bad_key if fault] + [
            f"{variable} contains a space or a character that cannot stand in it; copy it again"
            for variable in (*cls.env, *(settings.values.keys() & cls.optional))
            if not re.fullmatch(r"[\x21-\x7e]+", settings.values.get(variable, ""))
        ]

    @classmethod
    def hook_fault(cls, key: str) -> str | None:
        """What is wrong with the webhook key, in one sentence without its value."""
        if re.fullmatch(r"[\x21-\x7e]+", key):
            return None
        return f"{cls.name.upper()}_WEBHOOK_KEY contains a space or a character that cannot stand in it; copy it again"

    @classmethod
    def misshapen(cls, settings: Settings) -> list[str]:
        """What looks wrong with the settings, without their values. Not a fault: providers may change their keys."""
        return [
            f"{variable} does not look like a key of {cls.name}, which is {words}"
            for variable, (pattern, words) in cls.shapes.items()
            if not re.fullmatch(pattern, settings.values.get(variable, ""))
        ]

    @abstractmethod
    def request(self, message: Message) -> Request:
        """What to send for this message; the same for the same message."""

    def again(self, body: bytes, key: str) -> Request:
        """An earlier request of this provider once more, to the byte, with the credentials of today.

        One that can DEDUPE defines it; nobody else is asked for it.
        """
        raise NotImplementedError

    def lookup(self, mail: Mail) -> HttpRequest:
        """A request that asks whether the provider has got this mail; by one that can LOOKUP."""
        raise NotImplementedError

    def sighted(self, answer: Answer, mail: Mail) -> Sighting:
        """What the answer to that request tells. That it finds nothing proves nothing: the mail may come to light."""
        raise NotImplementedError

    @final
    def read(self, answer: Answer, message: Message) -> Result:
        """What the answer to that request means: the provider's own judgement, with its texts made safe to keep."""
        result = self.judge(answer, message)
        return replace(
            result,
            detail=self._safe(result.detail),
            http_status=answer.status if isinstance(answer, Response) else None,
            provider_message_id=one_line(result.provider_message_id or "")[:MAX_MESSAGE_ID] or None,
            refused={address: self._safe(reason) for address, reason in result.refused.items()},
        )

    @abstractmethod
    def judge(self, answer: Answer, message: Message) -> Result:
        """Read the answer to a request of this provider."""

    @final
    def hear(self, hook: Hook) -> Heard:
        """What a webhook request says: the provider's own reading, with its texts made safe to keep.

        Raises HookRefused if it is not genuine, HookUnreadable, and DocumentNeeded.
        """
        heard = self.listen(hook, self.settings.hook_key or "")
        reports = (replace(tidy(each), detail=self._safe(each.detail or "") or None) for each in heard.reports)
        return replace(heard, reports=tuple(reports))

    def listen(self, hook: Hook, key: str) -> Heard:
        """Check a webhook request against the key, then read it. One that can REPORT defines it."""
        raise NotImplementedError

    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, in every form in which a server could repeat it."""
        return tuple(self.settings.values.values())

    def _safe(self, text: str) -> str:
        """One line without secrets. Masked before it is cut, so that no half of a key survives at the end."""
        text = one_line(text)
        secrets = (*self.secrets(), self.settings.hook_key or "")
        for secret in sorted((word for word in secrets if len(word) >= _MIN_SECRET), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text[:MAX_DETAIL]


class HttpProvider(Provider):
    """A provider with an HTTP API. Subclasses read their own 2xx and 4xx; the rest means the same everywhere."""

    # Statuses that alone decide that the mail was taken, so that a cut body changes nothing.
    accepts_without_body: ClassVar[frozenset[int]] = frozenset()

    @property
    def url_setting(self) -> str:
        """The variable that holds the base URL."""
        return f"{self.name.upper()}_URL"

    @final
    def judge(self, answer: Answer, message: Message) -> Result:
        """Apply the rules that hold for every HTTP provider, then the provider's own."""
        assert isinstance(answer, Response)  # noqa: S101 - for the type checker; an HttpRequest gets no other answer
        status = answer.status
        if status in _TIMED_OUT:
            return Result(Outcome.UNANSWERED, f"answered {status}: it may have taken the mail")
        if 200 <= status < 300:
            if not answer.complete and status not in self.accepts_without_body:
                return Result(Outcome.UNANSWERED, f"answered {status}, then the answer was cut off")
            return self.accepted(answer, message)
        if 300 <= status < 400:
            return Result(Outcome.DOWN, f"answered with a redirect ({status}); check {self.url_setting}")
        if 400 <= status < 500:
            return self.refused(answer, message)
        if 500 <= status < 600:
            return self.failed(answer, message)
        return Result(Outcome.UNANSWERED, f"answered with the unknown status {status}")

    def sighted(self, answer: Answer, mail: Mail) -> Sighting:
        """The same for all: a mail that bears our id, in any answer of the documented form."""
        assert isinstance(answer, Response)  # noqa: S101 - for the type checker; an HttpRequest gets no other answer
        if answer.status in (401, 403):
            return Sighting(found=False, allowed=False)
        if answer.status != 200 or not answer.complete:
            return Sighting(found=False)
        name = self.seen(from_json(answer.body), mail)
        return Sighting(found=name is not None, provider_message_id=name or None)

    def seen(self, document: Any, mail: Mail) -> str | None:
        """What the provider calls this mail, out of a list of what it has; None if the mail is not among them."""
        raise NotImplementedError

    @abstractmethod
    def accepted(self, response: Response, message: Message) -> Result:
        """Read a 2xx answer. One that the provider's documentation does not know is UNANSWERED."""

    @abstractmethod
    def refused(self, response: Response, message: Message) -> Result:
        """Read a 4xx answer (408 excepted)."""

    def failed(self, response: Response, message: Message) -> Result:
        """Read a 5xx answer (504 and 524 excepted): the provider is down, unless its body says something else."""
        return Result(Outcome.DOWN, describe(response.status, response.body))

    def undocumented(self, response: Response) -> Result:
        """A 2xx that the documentation does not know: neither success nor failure."""
        return Result(Outcome.UNANSWERED, "undocumented answer " + describe(response.status, response.body))

    def throttled(self, response: Response, detail: str, *headers: str) -> Result:
        """Too many requests: closed for as long as `Retry-After` or one of the headers says."""
        wait = retry_after(response, *headers)
        return Result(Outcome.RATE_LIMITED, detail, retry_after=RATE_PAUSE if wait is None else wait)

    def foreign(self, response: Response) -> Result:
        """A 4xx that is not in the provider's own form: something between here and there gave it."""
        if response.status == 429:
            return self.throttled(response, describe(429, response.body))
        if response.status == 413:  # the fault of the mail, whoever says it
            return Result(Outcome.REFUSED, describe(413, response.body))
        hint = f"not an answer of {self.name} (a proxy? check {self.url_setting}): "
        return Result(Outcome.DOWN, hint + describe(response.status, response.body))
