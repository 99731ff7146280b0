"""API keys in every outbox: kept as they are, revoked once, and whose mails a list shows."""

import pytest

from mailsvc.access import ApiKey, Scope
from mailsvc.errors import Conflict
from mailsvc.listing import Page
from tests.contract.samples import NOW, OpenStore, addition, store

PLAIN = ApiKey("mk_1", "plain", "d1", frozenset({Scope.SEND}), created_at=NOW)
BOUND = ApiKey(
    "mk_2", "Ünïque “name”", "d2", frozenset(Scope), ("example.com", "xn--bcher-kva.de"), 60, created_at=NOW + 1
)


async def test_keys_come_back_as_they_were_stored_oldest_first(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        none = await outbox.keys()
        await outbox.add_key(BOUND)
        await outbox.add_key(PLAIN)
    async with open_store() as outbox:
        assert list(none) == []
        assert list(await outbox.keys()) == [PLAIN, BOUND]


async def test_an_id_that_is_taken_is_refused_and_the_first_key_stays(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.add_key(PLAIN)
        with pytest.raises(Conflict):
            await outbox.add_key(ApiKey("mk_1", "twin", "d3", frozenset(Scope)))

        assert list(await outbox.keys()) == [PLAIN]


async def test_a_key_is_revoked_once_and_stays_in_the_list(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await outbox.add_key(PLAIN)
        await outbox.add_key(BOUND)
        revoked = [await outbox.revoke_key(key_id, NOW + 9) for key_id in ("mk_1", "mk_1", "mk_3", "", "\x00")]
    async with open_store() as outbox:
        keys = await outbox.keys()

    assert revoked == [True, False, False, False, False]
    assert [(key.id, key.revoked_at) for key in keys] == [("mk_1", NOW + 9), ("mk_2", None)]


async def test_a_list_of_one_owners_mails_has_pages_and_filters_of_its_own(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        rows = [addition(created_at=NOW + n, owner="one" if n % 2 else "two") for n in range(8)]
        ids = await store(outbox, *rows)
        first = (await outbox.list(Page(owner="one", limit=3))).records
        rest = (await outbox.list(Page(owner="one", limit=3, after=first[-1].id))).records

    assert [record.id for record in [*first, *rest]] == ids[1::2][::-1]
