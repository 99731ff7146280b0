"""A small world for tests of the drain: a real outbox, a fake network, clocks that tests turn."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mailsvc.addition import Addition
from mailsvc.address import Mailbox
from mailsvc.choice import Choice, Hold
from mailsvc.config import Config
from mailsvc.delivery import Courier
from mailsvc.drain import Drain
from mailsvc.feed import Feed
from mailsvc.journal import Journal
from mailsvc.model import Mail, Message, OnUncertain, Record, new_id
from mailsvc.outbox import open_outbox
from mailsvc.outbox.base import Outbox
from mailsvc.providers.base import Can, Provider, Result, Settings
from mailsvc.selector import Selector
from mailsvc.wire import Answer, HttpRequest, Request, Response

ENVIRON = {
    "MAILSVC_FROM": "shop@example.com",
    "SENDGRID_API_KEY": "SG.x",
    "MANDRILL_API_KEY": "m-x",
    "SMTP_URL": "smtp://127.0.0.1:25",
}
START = 1_800_000_000.0
DAY = 86_400.0

Script = Callable[[str, Message], Awaitable[Result] | Result]


class Scripted(Provider):
    """A provider whose request says who it is; the fake network turns it into a result.

    A `keyed` one knows a repeated request for a day. `layout` stands for all that shapes a body beside the mail.
    """

    rank = 1
    env = ("X",)

    def __init__(self, name: str, results: dict[str, Result], keyed: bool) -> None:
        super().__init__(Settings({}))
        self.name = name  # type: ignore[misc]
        self.results, self.layout = results, "plain"
        if keyed:
            self.can, self.key_life = Can.DEDUPE, DAY  # type: ignore[misc]

    def request(self, message: Message) -> Request:
        body = f"{message.id} {self.layout}".encode()
        return self.again(body, message.id) if self.key_life else HttpRequest(self.name, {}, body)

    def again(self, body: bytes, key: str) -> Request:
        return HttpRequest(self.name, {}, body, key=key)

    def judge(self, answer: Answer, message: Message) -> Result:
        return self.results.pop(message.id)


class World:
    """Everything between the outbox and the network. `asked` lists (provider, mail id) as they were asked, `requests`
    what they were asked. `keyed` names the providers that know a repeated request.
    """

    def __init__(
        self, outbox: Outbox, script: Script, names: tuple[str, ...], keyed: tuple[str, ...] = (), **environ: str
    ) -> None:
        self.config = Config.from_environ(ENVIRON | environ)
        self.outbox, self.script = outbox, script
        self.wall, self.monotonic = START, 1000.0
        self.asked: list[tuple[str, str]] = []
        self.requests: list[HttpRequest] = []
        self.results: dict[str, Result] = {}
        self.feed = Feed()
        bases = dict(zip(names, (50.0, 40.0, 30.0), strict=False))
        self.selector = Selector(bases, rng=random.Random(1))
        self.providers = {name: Scripted(name, self.results, name in keyed) for name in names}
        self.courier = Courier(
            self.config,
            Journal(outbox),
            self.selector,
            self.providers,
            self.fetch,
            self.feed,
            random.Random(1),
            lambda: self.wall,
            lambda: self.monotonic,
        )
        self.drain = Drain(outbox, self.courier, self.config.concurrency, lambda: self.wall)

    async def fetch(self, request: Request) -> Answer:
        """The fake network."""
        assert isinstance(request, HttpRequest)
        mail_id = request.body.decode().split()[0]
        self.requests.append(request)
        self.asked.append((request.url, mail_id))
        message: Any = await self.outbox.mail(mail_id)
        result = self.script(request.url, message)
        self.results[mail_id] = found = await result if isinstance(result, Awaitable) else result
        return Response(found.http_status or 200)

    def pass_time(self, seconds: float) -> None:
        """Turn both clocks forward."""
        self.wall += seconds
        self.monotonic += seconds

    async def add(
        self,
        policy: OnUncertain = OnUncertain.RESEND,
        sender: str = "shop@example.com",
        content: str = "*hello*",
        to: tuple[Mailbox, ...] = (Mailbox("ann@example.com"), Mailbox("bob@example.com")),
    ) -> str:
        """A mail that is due now; its id."""
        mail = Mail(new_id(self.wall), self.wall, Mailbox(sender), to, "Hi", policy, content=content)
        (added,) = await self.outbox.add([Addition(mail, self.wall)])
        assert not isinstance(added, Exception)
        return added.id

    async def go(self, mail_id: str) -> Record:
        """Claim what is due and deliver one mail in one go; how it stands then."""
        for mail in await self.outbox.claim(100, self.wall, 60.0):
            choice = self.courier.choose(mail, set())
            if isinstance(choice, Choice):
                assert await self.courier.deliver(mail, choice) is None
            elif isinstance(choice, Hold):
                await self.courier.hold(mail, choice)
            else:
                await self.outbox.release([mail.id], self.wall + (choice.seconds if choice else 0.0))
        return await self.record(mail_id)

    async def record(self, mail_id: str) -> Record:
        """All that is known of a mail."""
        record = await self.outbox.get(mail_id)
        assert record is not None
        return record


@asynccontextmanager
async def world(
    folder: Path,
    script: Script,
    names: tuple[str, ...] = ("first", "second", "third"),
    keyed: tuple[str, ...] = (),
    **environ: str,
) -> AsyncIterator[World]:
    """A world with an outbox in `folder`."""
    outbox = await open_outbox(f"sqlite:///{folder}/mail.db")
    try:
        yield World(outbox, script, names, keyed, **environ)
    finally:
        await outbox.close()
