"""One mail through one provider, now: what `mailsvc send --provider` does. No queue, no database, no failover."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from . import submission
from .config import Config
from .errors import MailsvcError, NotSent, Unanswered
from .fetch import Fetcher
from .model import Message, Outcome
from .providers import all_providers
from .providers.base import Provider, Result
from .render import render
from .wire import HttpRequest, Request, SmtpRequest

# What to do, for a person who has just set a provider up. `{keys}` are its variables, `{url}` that of its URL.
_ADVICE = {
    Outcome.REFUSED: "the provider does not take this mail as it is; its words say why",
    Outcome.RECIPIENT_REFUSED: "the recipient is on the provider's list of bounced addresses, or is no address",
    Outcome.SENDER_REFUSED: "the sender {sender} is not verified there: verify the domain, or send from one that is",
    Outcome.UNAUTHORIZED: "the key is wrong, revoked, may not send, or belongs to another region: check {keys}{url}",
    Outcome.SUSPENDED: "the account is under review, paused or blocked: log in there, or write to their support",
    Outcome.QUOTA: "credits, or the limit of the day or month, are used up",
    Outcome.RATE_LIMITED: "too fast for the moment: try again in {wait}",
    Outcome.DOWN: "it could not be reached, or is down{mend}",
    Outcome.UNANSWERED: "it may have taken the mail, or not: look into the mailbox before you try again",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it. `took` is in seconds, `size` in bytes of the request, `place` where it went."""

    provider: Provider
    message: Message
    result: Result
    place: str
    size: int
    took: float

    @property
    def well(self) -> bool:
        """Whether the mail was taken for everybody, and is going to leave."""
        result = self.result
        return result.outcome is Outcome.ACCEPTED and not (result.stuck or result.refused or result.untold)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "provider": self.provider.name,
            "outcome": self.result.outcome.value,
            "provider_message_id": self.result.provider_message_id,
            "mail_id": self.message.id,
            "http_status": self.result.http_status,
            "detail": self.result.detail,
            "refused": dict(self.result.refused),
            "stuck": self.result.stuck,
            "request_bytes": self.size,
            "place": self.place,
            "seconds": round(self.took, 3),
            "advice": self.advice(),
        }

    def words(self) -> str:
        """As a person reads it."""
        result = self.result
        lines = [f"{result.outcome.value} by {self.provider.name} in {self.took:.2f} s"]
        if result.provider_message_id:
            lines.append(f"its id    {result.provider_message_id}")
        lines.append(f"our id    {self.message.id}, in its reports")
        lines.append(f"request   {self.size:,} bytes to {self.place}")
        if result.detail:
            lines.append(f"answer    {result.detail}")
        lines += [f"not for   {address}: {why}" for address, why in result.refused.items()]
        lines += [f"unknown   {address}: nothing was said of it" for address in result.untold]
        if advice := self.advice():
            lines.append(f"advice    {advice}")
        return "\n".join(lines)

    def advice(self) -> str | None:
        """What to do; None if all is well."""
        result, provider = self.result, self.provider
        if result.stuck:
            return "taken, but it will not leave: log in there and see what keeps it"
        setting = f"{provider.name.upper()}_URL"
        words = _ADVICE.get(result.outcome)
        return words and words.format(
            sender=self.message.sender.address,
            keys=", ".join(provider.env),
            url=f", {setting}" if provider.default_url else "",
            wait="a moment" if result.retry_after is None else f"{result.retry_after:.0f} s",
            mend=f": check the network, {setting if provider.default_url else provider.env[0]}, and their status page",
        )


async def run(environ: Mapping[str, str], name: str, fields: Mapping[str, Any]) -> Trial:
    """Send what these fields say, which are those of `POST /email`, through the provider of this name.

    Raises MailsvcError if nothing was sent: bad settings, no such provider, a mail that it cannot carry.
    """
    config = Config.from_environ(environ)
    provider = _provider(config, name)
    mail = submission.parse(fields).mail(time.time(), config.sender, config.on_uncertain)
    if lacks := provider.ability.lacks(mail):
        raise MailsvcError(f"{name} {lacks}")
    message = await asyncio.to_thread(render, mail)
    request = provider.request(message)
    began = time.monotonic()
    async with Fetcher(timeout=config.timeout, concurrency=1) as fetch:
        try:
            result = provider.read(await fetch(request), message)
        except NotSent as error:
            result = Result(Outcome.DOWN, str(error))
        except Unanswered as error:
            result = Result(Outcome.UNANSWERED, str(error))
    return Trial(provider, message, result, *_where(request), time.monotonic() - began)


def _provider(config: Config, name: str) -> Provider:
    kinds = all_providers()
    sending = [each for each in kinds if each != "capture"]
    if name not in sending:
        raise MailsvcError(f"{name} is no provider; there are {', '.join(sending)}")
    if config.capture_only:
        raise MailsvcError("MAILSVC_CAPTURE is on: nothing may be sent")
    if name not in config.providers:
        raise MailsvcError(f"{name} is not set up: set {', '.join(kinds[name].env)}")
    return kinds[name](config.providers[name])


def _where(request: Request) -> tuple[str, int]:
    if isinstance(request, HttpRequest):
        return urlsplit(request.url).netloc, len(request.body)
    assert isinstance(request, SmtpRequest)  # noqa: S101 - for the type checker; who sends has one of the two
    return f"{request.host}:{request.port}", len(request.data)
