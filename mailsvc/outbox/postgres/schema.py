"""Whether the database can be used, and how its schema gets to its newest form. The SQL is in `migrations/postgres`."""

from __future__ import annotations

import asyncio
from importlib.resources import files

import asyncpg
import structlog

from ...errors import ConfigError
from .address import Address
from .server import CONNECT
from .trouble import storage_trouble

MIGRATIONS = files("mailsvc.outbox") / "migrations" / "postgres"
NEEDS = 15  # the major version of the server
LOCK = 0x6D61696C737663  # "mailsvc": the advisory lock of those who migrate
PAUSE = 0.2  # seconds between two tries to connect

FACTS = """
SELECT current_setting('server_encoding') AS encoding, current_setting('transaction_read_only') = 'on' AS read_only,
    current_setting('fsync') = 'off' AS careless
"""
MADE = "SELECT to_regclass('mailsvc.schema_version') IS NOT NULL"
# A schema of its own: no other program's tables are in the way, and it can be made by an administrator beforehand.
MAKE_SCHEMA = "CREATE SCHEMA mailsvc"
HAS_SCHEMA = "SELECT to_regnamespace('mailsvc') IS NOT NULL"
MAKE_VERSION = (
    "CREATE TABLE mailsvc.schema_version (number integer NOT NULL); INSERT INTO mailsvc.schema_version VALUES (0)"
)
VERSION = "SELECT number FROM mailsvc.schema_version"
SET_VERSION = "UPDATE mailsvc.schema_version SET number = $1"

CARELESS = "the server does not sync its disk: accepted mail is lost if its power fails"

log = structlog.get_logger("mailsvc.outbox")


async def prepare(address: Address, wait: float, migrations: list[str] | None = None) -> None:
    """Migrate, alone among all processes that start now. Raises ConfigError, StorageUnavailable.

    Waits up to `wait` seconds for a server that is not there yet.
    """
    connection = await connect(address, wait)
    try:
        if await check(connection, address):
            log.warning("fsync_is_off", why=CARELESS)
        await _migrate(connection, address, scripts() if migrations is None else migrations)
    except asyncpg.InsufficientPrivilegeError as error:
        hint = "as an administrator: CREATE SCHEMA mailsvc AUTHORIZATION the_user"
        raise ConfigError([f"DATABASE_URL: {address.words}: {error}; {hint}"]) from error
    except (asyncpg.PostgresError, OSError) as error:
        raise storage_trouble(error) or error from error
    finally:
        connection.terminate()


def scripts() -> list[str]:
    """The migrations, first to last; the place of each is its version, from 1."""
    named = sorted(entry.name for entry in MIGRATIONS.iterdir() if entry.name.endswith(".sql"))
    return [(MIGRATIONS / name).read_text(encoding="utf-8") for name in named]


async def connect(address: Address, wait: float) -> asyncpg.Connection:
    """A connection, waiting up to `wait` seconds for a server that is not there yet. Raises what `prepare` does."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    while True:
        try:
            return await asyncpg.connect(address.url, timeout=CONNECT)
        except Exception as error:
            trouble = _explained(error, address)
            if loop.time() >= deadline or not _may_pass(error):
                raise trouble from error
        await asyncio.sleep(PAUSE)


def _may_pass(error: Exception) -> bool:
    """Whether the server may only be starting."""
    return isinstance(error, OSError | asyncpg.CannotConnectNowError | asyncpg.TooManyConnectionsError)


def _explained(error: Exception, address: Address) -> Exception:
    """What went wrong with a connection; errors that are the configuration's fault name where it led to."""
    if isinstance(error, asyncpg.CannotConnectNowError | asyncpg.TooManyConnectionsError):
        return storage_trouble(error) or error
    if isinstance(error, TimeoutError):
        words = f"does not answer within {CONNECT:g} seconds"
    elif isinstance(error, OSError):
        words = f"cannot be reached: {error.strerror or error}"
    elif isinstance(error, asyncpg.PostgresError | asyncpg.ClientConfigurationError):
        words = f"cannot be used: {error}"
    elif isinstance(error, ValueError | AttributeError):
        words = "cannot be used: a parameter of the URL is wrong"  # no word of it: it may be a piece of the password
    elif isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        words = f"does not speak like PostgreSQL: {error}"
    else:
        return error
    return ConfigError([f"DATABASE_URL: {address.words} {words}"])


async def check(connection: asyncpg.Connection, address: Address) -> bool:
    """Raise ConfigError if the database cannot be used. True if it can, but its server does not sync its disk."""
    version = connection.get_server_version()
    if version.major < NEEDS:
        raise ConfigError([f"DATABASE_URL: {address.words} is version {version.major}: {NEEDS} or newer is needed"])
    facts = await connection.fetchrow(FACTS)
    if facts["encoding"] != "UTF8":
        raise ConfigError([f"DATABASE_URL: {address.words} has the encoding {facts['encoding']}: UTF8 is needed"])
    if facts["read_only"]:
        raise ConfigError([f"DATABASE_URL: {address.words} is read-only: is it a standby? The primary is needed"])
    return bool(facts["careless"])


async def _migrate(connection: asyncpg.Connection, address: Address, migrations: list[str]) -> None:
    """Run what is missing, all of it or nothing."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if not await connection.fetchval(MADE):
            if not await connection.fetchval(HAS_SCHEMA):
                await connection.execute(MAKE_SCHEMA)
            await connection.execute(MAKE_VERSION)
        version = await connection.fetchval(VERSION)
        if version > len(migrations):
            versions = f"schema {version}, this one knows {len(migrations)}"
            raise ConfigError([f"DATABASE_URL: {address.words} was written by a newer mailsvc ({versions})"])
        if version < len(migrations):
            await connection.execute("SET LOCAL search_path = mailsvc")
            for script in migrations[version:]:
                await connection.execute(script)
            await connection.execute(SET_VERSION, len(migrations))
