"""The databases that the contract of the outbox is tested on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailsvc.outbox import open_outbox
from mailsvc.outbox.base import Outbox
from tests.contract.samples import NOW, OpenStore

LEASE = 60.0


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """The kind of database of this test."""
    return str(request.param)


@pytest.fixture
def open_store(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> OpenStore:
    """Opens the outbox of this test; the second time, it is the same one as the first."""
    server = request.getfixturevalue("postgres") if database == "postgres" else None
    url = server.create() if server else f"sqlite:///{tmp_path}/outbox.db"

    @asynccontextmanager
    async def opened() -> AsyncIterator[Outbox]:
        outbox = await open_outbox(url, lease=LEASE)
        try:
            yield outbox
        finally:
            await outbox.close()

    return opened


@pytest.fixture
def gone(database: str) -> float:
    """When it is known that an owner has ended who was last seen at NOW + 1: at once where a lock tells."""
    return NOW + 10 if database == "sqlite" else NOW + 1 + LEASE
