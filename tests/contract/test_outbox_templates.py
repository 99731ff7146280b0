"""Templates in every outbox: each change is a version that stays as it is, and no number means two things."""

import asyncio

import pytest

from mailsvc import template as limits
from mailsvc.errors import Conflict
from mailsvc.outbox import postgres, sqlite
from mailsvc.outbox.base import Outbox
from mailsvc.template import Origin, Template
from tests.contract.samples import NOW, OpenStore, addition, shown, store


def parts(subject: str = "Hi {{ name }}", **bodies: str) -> dict[str, str]:
    return {"subject": subject, **(bodies or {"content": "**Hello** {{ name }}"})}


async def put(outbox: Outbox, name: str, *, at: float = NOW, **given: str) -> Template:
    return await outbox.templates.put(Template.of(name, parts(**given)), at)


async def test_each_change_makes_a_version_and_those_before_stay(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        first = await put(outbox, "welcome")
        second = await put(outbox, "welcome", at=NOW + 1, subject="Ünïque “{{ name }}”", html="<b>", text="b")
    async with open_store() as outbox:
        found = [await outbox.templates.get("welcome", version) for version in (None, 1, 2, 3)]

    assert (first.version, first.created_at, first.content) == (1, NOW, "**Hello** {{ name }}")
    assert (second.version, second.created_at, second.content, second.html) == (2, NOW + 1, None, "<b>")
    assert found == [second, first, second, None]


async def test_what_is_the_newest_version_already_makes_none(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        first = await put(outbox, "welcome")

        assert await put(outbox, "welcome", at=NOW + 1) == first
        await put(outbox, "welcome", subject="Other")
        assert (await put(outbox, "welcome")).version == 3


async def test_the_newest_of_each_are_listed_by_name(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        for name in ("b", "a", "B", "a-1"):
            await put(outbox, name)
        newest = await put(outbox, "a", subject="Newer")
        found = list(await outbox.templates.list())

    assert [each.name for each in found] == ["B", "a", "a-1", "b"]
    assert found[1] == newest


async def test_one_that_was_removed_is_gone_and_its_numbers_are_not_given_again(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await put(outbox, "welcome")
        await put(outbox, "welcome", subject="Newer")
        removed = [await outbox.templates.remove(name, NOW + 2) for name in ("welcome", "welcome", "other")]
        gone = [await outbox.templates.get("welcome", version) for version in (None, 1, 2, 3)]
        listed = list(await outbox.templates.list())
        again = await put(outbox, "welcome")

        assert removed == [True, False, False]
        assert gone == [None] * 4
        assert listed == []
        assert again.version == 4
        assert await outbox.templates.get("welcome") == again


async def test_changes_at_the_same_time_all_get_a_number_of_their_own_and_none_is_left_out(
    open_store: OpenStore,
) -> None:
    async with open_store() as outbox:
        made = await asyncio.gather(*(put(outbox, "welcome", subject=f"Number {n}") for n in range(24)))
        kept = [await outbox.templates.get("welcome", version) for version in range(1, 25)]

    assert sorted(made, key=lambda each: each.version or 0) == kept


async def test_names_that_are_new_at_the_same_time_do_not_exceed_the_bound(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sqlite.templates, postgres.templates):
        monkeypatch.setattr(module, "MOST", 3)
    async with open_store() as outbox:
        made = await asyncio.gather(*(put(outbox, f"t{n}") for n in range(8)), return_exceptions=True)
        listed = await outbox.templates.list()

    assert len(listed) == 3
    assert [each.code for each in made if isinstance(each, Conflict)] == ["too_many_templates"] * 5


async def test_a_template_that_several_remove_is_removed_by_one(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        await put(outbox, "welcome")
        removed = await asyncio.gather(*(outbox.templates.remove("welcome", NOW + n) for n in range(6)))
        again = await put(outbox, "welcome")

    assert sorted(removed) == [False] * 5 + [True]
    assert again.version == 3


async def test_there_is_a_bound_for_names_and_none_for_versions(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sqlite.templates, postgres.templates):
        monkeypatch.setattr(module, "MOST", 2)
    async with open_store() as outbox:
        await put(outbox, "a")
        await put(outbox, "b")
        with pytest.raises(Conflict) as raised:
            await put(outbox, "c")
        changed = await put(outbox, "a", subject="Newer")
        await outbox.templates.remove("b", NOW)
        instead = await put(outbox, "c")
        with pytest.raises(Conflict):
            await put(outbox, "b")

    assert raised.value.code == "too_many_templates"
    assert (changed.version, instead.version) == (2, 1)


async def test_a_mail_says_from_which_template_it_was_made(open_store: OpenStore) -> None:
    made = [Origin("welcome", 3), Origin("from-a-file"), None]
    async with open_store() as outbox:
        ids = await store(outbox, *(addition(template=origin) for origin in made))
        found = [(await shown(outbox, mail_id)).template for mail_id in ids]

    assert found == made


def test_the_name_of_a_template_cannot_be_taken_for_a_version() -> None:
    assert [limits.NAME.fullmatch(text) for text in ("a@1", "", "-a", ".a", "a/b", "a" * 65, "ä")] == [None] * 7
    assert all(limits.NAME.fullmatch(text) for text in ("a", "A1", "order.shipped", "a_b-c"))
