"""`python -m bench.scale`: what mails cost on SQLite, and on PostgreSQL with 1, 2 and 4 processes. Needs PostgreSQL.

Load, provider, database and mailsvc share this machine, so the rate says little about larger ones. What says much is
the processor time of each part for a mail, which is measured apart, and the bytes that a mail leaves behind.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.postgres import PostgresServer

from .processes import TICK, Server, load, mailsvc, provider

WARM_UP, CLIENTS = 300, 64
CORES = set(range(os.cpu_count() or 1))
Figures = dict[str, float]


@dataclass(frozen=True)
class Database:
    """A database of a run: its URL, its processor seconds (not those within mailsvc), and its bytes."""

    url: str
    cpu: Callable[[], float]
    size: Callable[[], float]
    log: Callable[[], float]


@contextmanager
def sqlite() -> Iterator[Database]:
    """One file; its processor time is that of mailsvc."""
    with tempfile.TemporaryDirectory(prefix="mailsvc-bench-") as folder:
        path = Path(folder, "mail.db")
        yield Database(f"sqlite:///{path}", lambda: 0.0, lambda: path.stat().st_size, lambda: 0.0)


@contextmanager
def postgres() -> Iterator[Database]:
    """A server that syncs its disk as in production."""
    with PostgresServer(fsync="on", shared_buffers="256MB") as server:
        url = server.create()
        name = url.partition("?")[0].rpartition("/")[2]
        postmaster = int((server.folder / "data/postmaster.pid").read_text().split()[0])
        yield Database(
            url,
            lambda: family_cpu(postmaster),
            lambda: float(server.run(f"SELECT pg_database_size('{name}')")),
            lambda: float(server.run("SELECT pg_current_wal_lsn() - '0/0'")),
        )


def family_cpu(parent: int) -> float:
    """Processor seconds of a process and of all its children, those that have ended included."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == parent:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == parent:
            ticks += sum(map(int, fields[11:13]))
    return ticks / TICK


def measure(database: Database, processes: int, mails: int) -> Figures:
    """Every mail accepted and handed to a provider that answers at once."""
    with ExitStack() as stack:
        _, settings = stack.enter_context(provider())
        servers = [stack.enter_context(mailsvc(DATABASE_URL=database.url, **settings)) for _ in range(processes)]
        for server in servers:
            os.sched_setaffinity(server.process.pid, CORES)
        deliver(servers, WARM_UP)
        before = (sum(server.cpu for server in servers), database.cpu(), database.size(), database.log())
        took = deliver(servers, mails)
        after = (sum(server.cpu for server in servers), database.cpu(), database.size(), database.log())
        service, store, size, log = ((late - early) / mails for early, late in zip(before, after, strict=True))
        return {
            "per_s": mails / took,
            "mailsvc_cpu_ms": service * 1000,
            "database_cpu_ms": store * 1000,
            "database_bytes": size,
            "wal_bytes": log,
            "memory_mb": statistics.mean(server.rss for server in servers),
        }


def deliver(servers: list[Server], mails: int) -> float:
    """Seconds until every mail is sent, whichever process sends it."""
    goal = sum(server.sent for server in servers) + mails
    start = time.perf_counter()
    share, clients = mails // len(servers), max(1, CLIENTS // len(servers))
    with ThreadPoolExecutor(len(servers)) as threads:
        list(threads.map(lambda server: load(server, clients, mails=share), servers))
    while sum(server.sent for server in servers) < goal - mails % len(servers):
        time.sleep(0.02)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mails", type=int, default=4000)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[Figures]] = {}
    for turn in range(options.turns):
        for name, count in (("SQLite", 1), ("PostgreSQL", 1), ("PostgreSQL", 2), ("PostgreSQL", 4)):
            print(f"  {name}, {count}: run {turn + 1} of {options.turns} ...", file=sys.stderr, flush=True)
            with ExitStack() as stack:
                database = stack.enter_context(sqlite() if name == "SQLite" else postgres())
                found.setdefault(f"{name} {count}", []).append(measure(database, count, options.mails))
    middle = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
    }
    for name, figures in middle.items():
        print(f"{name:14}", "  ".join(f"{key} {value:.3g}" for key, value in figures.items()))
    print(json.dumps(middle))


if __name__ == "__main__":
    main()
