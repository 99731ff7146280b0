"""Where the database is, in words that show no secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from ...errors import ConfigError

DUMP = 'pg_dump --format=custom --schema=mailsvc --file=FILE "$DATABASE_URL"'  # how it is backed up
NEEDS = "postgres://user:password@host:5432/database"


@dataclass(frozen=True, slots=True)
class Address:
    """A URL of a database. `words` say which one it is, without the password."""

    url: str = field(repr=False)
    words: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ConfigError without a word of the URL: with a slip in it, part of the password looks like a host."""
        try:
            parts = urlsplit(url)
            query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
            port = parts.port or 5432
        except ValueError as error:
            raise _unreadable() from error
        if parts.netloc.count("@") > 1 or parts.fragment or parts.path.count("/") > 1:
            raise _unreadable()
        host = query.get("host") or parts.hostname or "the usual socket"
        place = host if host.startswith(("/", "the ")) else f"{host}:{port}"
        database, user = unquote(parts.path[1:]), unquote(parts.username or "")
        named = [f"database {database}" if database else "", f"user {user}" if user else ""]
        return cls(url, ", ".join(filter(None, [f"PostgreSQL at {place}", *named])))


def _unreadable() -> ConfigError:
    hint = "write / @ : # ? % and space in a password as %2F %40 %3A %23 %3F %25 %20"
    return ConfigError([f"DATABASE_URL: must be {NEEDS}; {hint}"])
