"""The databases that the contract of the outbox is tested on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailsvc.outbox import open_outbox
from mailsvc.outbox.base import Outbox
from tests.contract.samples import OpenStore


@pytest.fixture(params=["sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the outbox of this test; the second time, it is the same one as the first."""
    urls = {"sqlite": f"sqlite:///{tmp_path}/outbox.db"}

    @asynccontextmanager
    async def opened() -> AsyncIterator[Outbox]:
        outbox = await open_outbox(urls[request.param])
        try:
            yield outbox
        finally:
            await outbox.close()

    return opened
