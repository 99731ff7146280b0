"""Rows by the batch: those that touch one mail one after the other, all others together, a faulty one alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from ...errors import StorageUnavailable

T = TypeVar("T")
R = TypeVar("R")


async def in_waves(
    rows: Sequence[T], mail_id: Callable[[T], str], run: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]]
) -> list[R | Exception]:
    """A result for each row, in their order, as if they had been run one by one.

    `run` is given rows of different mails. Whatever it raises but StorageUnavailable, nothing of it was done.
    """
    results: dict[int, R | Exception] = {}
    for wave in _waves([mail_id(row) for row in rows]):
        results.update(zip(wave, await _run([rows[place] for place in wave], run), strict=True))
    return [results[place] for place in range(len(rows))]


def _waves(mail_ids: Iterable[str]) -> list[list[int]]:
    """The places of the rows, such that no two of a wave have the same mail."""
    seen: Counter[str] = Counter()
    waves: list[list[int]] = []
    for place, mail_id in enumerate(mail_ids):
        if seen[mail_id] == len(waves):
            waves.append([])
        waves[seen[mail_id]].append(place)
        seen[mail_id] += 1
    return waves


async def _run(
    rows: Sequence[T], run: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]]
) -> Sequence[R | Exception]:
    try:
        return await run(rows)
    except StorageUnavailable:
        raise
    except Exception as error:
        if len(rows) == 1:
            return [error]
        return [(await _run([row], run))[0] for row in rows]


def columns(rows: Sequence[Sequence[object]], width: int) -> list[Sequence[object]]:
    """Rows as the arrays that `unnest` makes rows of again."""
    return list(zip(*rows, strict=True)) or [()] * width


def as_uuid(mail_id: str) -> UUID | None:
    """The id as the database has it; None for a text that is the id of no mail."""
    try:
        found = UUID(mail_id)
    except ValueError:
        return None
    return found if str(found) == mail_id else None


def known_uuid(mail_id: str) -> UUID:
    """The same for an id that must be one. Raises ValueError."""
    found = as_uuid(mail_id)
    if found is None:
        raise ValueError("the id of a mail must be a UUID")
    return found


def storable(*texts: str | None) -> None:
    """Raise ValueError for a text that the database cannot keep: lone surrogates and U+0000."""
    for text in texts:
        if text is not None:
            if "\x00" in text:
                raise ValueError("a text with the character U+0000 cannot be stored")
            text.encode()


def harmless(text: str | None) -> str | None:
    """A provider's words without what cannot be stored."""
    return text and text.replace("\x00", "").encode("utf-8", "replace").decode()
