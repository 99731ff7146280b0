"""The drain: claims what is due, hands it to the courier while there is room, and stops without losing anything.

A mail that nobody may be asked to send waits, and loses no try and no round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from .choice import Choice, Hold, Late, Never, Wait
from .delivery import Courier
from .errors import StorageUnavailable
from .lanes import Turns
from .lookup import Look
from .model import LANES, Mail, Priority
from .outbox.base import Outbox

LOOK_FOR_HIGH = 0.1  # seconds between looks for mails that go before those that wait here for a provider
HEARTBEAT = 0.5  # seconds between looks at the outbox when no bell rings; on the monotonic clock
RENEWALS = 4  # in a lease
WRITE_DOWN = 3.0  # seconds that interrupted deliveries have to say so in the outbox

log = structlog.get_logger("mailsvc.drain")


class Drain:
    """Owns the deliveries in flight, at most `concurrency`. Times for the outbox come from `clock`, Unix seconds.

    `uncertain_after`: seconds before a mail is due that a process left in doubt.
    """

    def __init__(
        self,
        outbox: Outbox,
        courier: Courier,
        concurrency: int,
        clock: Callable[[], float] = time.time,
        uncertain_after: float = 60.0,
    ) -> None:
        self._outbox, self._courier, self._concurrency, self._clock = outbox, courier, concurrency, clock
        self._uncertain_after = uncertain_after
        self._bell = asyncio.Event()
        self._held: list[Mail] = []  # claimed, and waiting for a provider that may be asked
        self._turns = Turns()
        self._looked_for_high = 0.0
        self._running: dict[str, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """Deliveries under way."""
        return len(self._running)

    def wake(self) -> None:
        """Something may be due, or may be asked again."""
        self._bell.set()

    def start(self) -> None:
        """Begin to drain."""
        self._loop = asyncio.create_task(self._run(), name="drain")
        if self._outbox.shared:
            self._keeping = asyncio.create_task(self._keep(), name="leases")

    async def stop(self, grace: float) -> None:
        """Start nothing new, let what runs finish for `grace` seconds, interrupt it then, give back the rest."""
        self._stopping = True
        self.wake()
        if self._loop:
            await self._loop
        if self._running:
            log.info("finishing_deliveries", in_flight=self.in_flight, grace_s=grace)
            await asyncio.wait(self._running.values(), timeout=grace)
        for mail_id, delivery in self._running.items():
            log.warning("delivery_interrupted", mail=mail_id)
            delivery.cancel()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=WRITE_DOWN)
        if self._keeping:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        with suppress(StorageUnavailable):
            await self._give_back()

    async def _run(self) -> None:
        """Fill the free room, wait for a bell, again. Trouble with the store only delays it."""
        while not self._stopping:
            self._bell.clear()
            try:
                await self._fill()
            except StorageUnavailable as error:
                log.error("storage_trouble", error=str(error))
            except Exception:  # whatever it was, the loop goes on: it would never be begun again
                log.exception("drain_failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), HEARTBEAT)
            self._courier.news.providers()

    async def _fill(self) -> None:
        room = self._concurrency - self.in_flight
        if room <= 0:
            return
        if not self._courier.somebody_may_be_asked():
            await self._give_back()
            return
        await self._claim(room)
        self._held = [mail for mail in self._held if not self._try_start(mail)]

    async def _claim(self, room: int) -> None:
        """Take mails that are due until `room` are held. Where others wait already, those of high priority overtake."""
        now = asyncio.get_running_loop().time()
        while (spare := room - len(self._held)) > 0:
            wanted, lanes = self._turns.next(spare, now)
            claimed = await self._outbox.claim(wanted, self._clock(), self._outbox.lease, lanes)
            self._turns.taken(claimed, now)
            # Whose turn it is keeps it here, whoever comes.
            self._hold([replace(mail, priority=Priority.HIGH) for mail in claimed] if lanes is not LANES else claimed)
            if lanes is LANES or not claimed:
                return
        high = sum(mail.priority is Priority.HIGH for mail in self._held)
        if high < room and now - self._looked_for_high >= LOOK_FOR_HIGH:
            self._looked_for_high = now
            lease, first = self._outbox.lease, [Priority.HIGH]
            self._hold(await self._outbox.claim(room - high, self._clock(), lease, first))

    def _hold(self, claimed: Sequence[Mail]) -> None:
        """What this process has already can be claimed again only after its lease; it stays here once."""
        known = self._running.keys() | {mail.id for mail in self._held}
        fresh = [mail for mail in claimed if mail.id not in known]
        if fresh and self._held:
            self._held = sorted([*self._held, *fresh], key=lambda mail: mail.priority.lane)
        else:
            self._held += fresh

    def _try_start(self, mail: Mail) -> bool:
        """Begin to deliver, if there is room and a provider may be asked for this mail now; or put it off."""
        if self._stopping or self.in_flight >= self._concurrency:
            return False
        choice = self._courier.choose(mail, set())
        if choice is None:
            return False
        work = self._deliver(mail, choice) if isinstance(choice, Choice) else self._put_off(mail, choice)
        task = asyncio.create_task(work, name=f"deliver {mail.id}")
        self._running[mail.id] = task
        return True

    async def _deliver(self, mail: Mail, choice: Choice) -> None:
        unsent = None
        try:
            unsent = await self._courier.deliver(mail, choice)
        finally:
            del self._running[mail.id]
            if unsent:
                self._held.append(unsent)  # and no bell: the store needs a moment, and the heartbeat comes
            else:
                self.wake()

    async def _put_off(self, mail: Mail, why: Look | Wait | Hold | Never | Late) -> None:
        """Nobody may be asked for this mail now. It makes room for others until then."""
        try:
            if isinstance(why, Hold):
                await self._courier.hold(mail, why)
            elif isinstance(why, Never):
                await self._courier.give_up(mail, why)
            elif isinstance(why, Late):
                await self._courier.expire(mail)
            elif isinstance(why, Look):
                if not await self._courier.look(mail, why):
                    await self._outbox.release([mail.id], self._clock())  # and on with it as if nobody had looked
            else:
                await self._outbox.release([mail.id], self._clock() + why.seconds)
            self.wake()
        except StorageUnavailable as error:
            log.error("storage_trouble", mail=mail.id, error=str(error))
            self._held.append(mail)
        finally:
            del self._running[mail.id]

    async def _keep(self) -> None:
        """Several times in a lease: say that this process lives, and take over what others left that do not.

        A turn after trouble with the store takes nothing over: the others had the same trouble, and come first.
        """
        calm = False
        while True:
            await asyncio.sleep(self._outbox.lease / RENEWALS)
            try:
                await self._outbox.renew([*self._running, *(mail.id for mail in self._held)], self._clock())
                if calm:
                    await self._take_over()
                calm = True
            except Exception as error:
                calm = False
                log.error("leases_not_kept", error=str(error), exc_info=not isinstance(error, StorageUnavailable))

    async def _take_over(self) -> None:
        for mail_id in await self._outbox.recover(self._clock(), self._uncertain_after):
            log.warning("attempt_interrupted", mail=mail_id, mail_status="uncertain")

    async def _give_back(self) -> None:
        """What is held could wait long: let the outbox have it, due at once."""
        if self._held:
            ids = {mail.id for mail in self._held}
            await self._outbox.release(list(ids), self._clock())
            self._held = [mail for mail in self._held if mail.id not in ids]
