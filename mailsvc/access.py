"""Who may do what: API keys, what each allows, and how one is known again. The text of a key is never kept."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

MARK = "mk_"  # how every key begins that mailsvc makes, so that one that leaks is known for what it is
ID_BYTES, SECRET_BYTES = 6, 20
ID_LENGTH = len(MARK) + 2 * ID_BYTES


class Scope(StrEnum):
    """What a key allows. `admin` includes the other two, and sees the mails of all keys."""

    SEND = "send"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept. `id` is how its text begins, and the owner of its mails; `digest` is the text's SHA-256.

    It may send from these `domains` alone (none: from any), and `rate` mails a minute (None: any number).
    """

    id: str
    name: str
    digest: str = field(repr=False)
    scopes: frozenset[Scope]
    domains: tuple[str, ...] = ()
    rate: int | None = None
    created_at: float = 0.0
    revoked_at: float | None = None

    def may(self, scope: Scope) -> bool:
        """Whether it allows that."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def sees(self) -> str | None:
        """The owner whose mails it sees; None: the mails of all."""
        return None if Scope.ADMIN in self.scopes else self.id


# Whoever comes in where no key is needed.
NOBODY = ApiKey("", "no key", "", frozenset(Scope))


def new_key(
    name: str, scopes: Iterable[Scope], domains: Iterable[str], rate: int | None, now: float
) -> tuple[ApiKey, str]:
    """A key made at random, and its text, which nobody can find out again."""
    key_id = MARK + os.urandom(ID_BYTES).hex()
    text = f"{key_id}_{os.urandom(SECRET_BYTES).hex()}"
    return ApiKey(key_id, name, _digest(text), frozenset(scopes), tuple(domains), rate, now), text


class Keyring:
    """The keys that are good now: the first one, which the environment holds, and those that were made."""

    def __init__(self, first: str | None) -> None:
        self._first = ApiKey("", "MAILSVC_API_KEY", _digest(first), frozenset(Scope)) if first else None
        self._made: dict[str, ApiKey] = {}

    def replace(self, keys: Iterable[ApiKey]) -> None:
        """These are all that were made; the revoked ones among them are good no more."""
        self._made = {key.id: key for key in keys if key.revoked_at is None}

    @property
    def empty(self) -> bool:
        """Whether there is no key at all, so that none can be asked for."""
        return self._first is None and not self._made

    def find(self, text: str) -> ApiKey | None:
        """The key with this text. How long it takes says nothing about how much of it is right."""
        digest = _digest(text)
        for key in (self._made.get(text[:ID_LENGTH]), self._first):
            if key and hmac.compare_digest(key.digest, digest):
                return key
        return None

    def get(self, key_id: str) -> ApiKey | None:
        """The key with this id; the first one has the id ""."""
        return self._made.get(key_id) if key_id else self._first


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
