"""The API keys of a running service: kept in the outbox, known in memory, made and revoked by an administrator."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from .access import ApiKey, Keyring, Scope, new_key
from .errors import NotFound
from .outbox.base import Outbox

log = structlog.get_logger("mailsvc.keys")


class Keys:
    """What the web handlers ask about keys. `ring` knows those that are good now."""

    def __init__(self, outbox: Outbox, first: str | None) -> None:
        self._outbox = outbox
        self.ring = Keyring(first)

    async def load(self) -> None:
        """See which keys there are: another process may have made or revoked one."""
        self.ring.replace(await self._outbox.keys())

    async def all(self) -> Sequence[ApiKey]:
        """Every key that was ever made, oldest first."""
        return await self._outbox.keys()

    async def create(
        self, name: str, scopes: Sequence[Scope], domains: Sequence[str], rate: int | None
    ) -> tuple[ApiKey, str]:
        """Make a key, and give its text for the only time."""
        key, text = new_key(name, scopes, domains, rate, time.time())
        await self._outbox.add_key(key)
        await self.load()
        log.info("key_made", key=key.id, scopes=sorted(key.scopes))
        return key, text

    async def revoke(self, key_id: str) -> None:
        """From now on it opens nothing. Raises NotFound: there is no such key, or it is revoked already."""
        if not await self._outbox.revoke_key(key_id, time.time()):
            raise NotFound("there is no such key, or it is revoked already")
        await self.load()
        log.info("key_revoked", key=key_id)
