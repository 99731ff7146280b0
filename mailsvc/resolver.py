"""Names to addresses, but for those that a guard forbids. What is left is what is connected to: nobody asks twice."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from .guard import Guard


class Inside(OSError):
    """A name leads to addresses of which none may be connected to."""


class GuardedResolver(AbstractResolver):
    """Leaves out the addresses of a name that may not be connected to; what is left is what is connected to."""

    def __init__(self, guard: Guard, resolver: AbstractResolver) -> None:
        self._guard, self._resolver = guard, resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Called by the HTTP client for each new connection."""
        found = await self._resolver.resolve(host, port, family)
        if self._guard.trusts(host):
            return found
        good = [each for each in found if self._guard.allows(each["host"])]
        if not good:
            raise Inside("the name leads to an address that callbacks may not go to")
        return good

    async def close(self) -> None:
        """Called by the HTTP client at its end."""
        await self._resolver.close()
