"""Several processes behind one port: a parent that listens, starts children, replaces those that die and ends them.

It serves nothing itself, and has neither loop nor thread, so that it may fork at any time.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from socket import socket

import structlog

from .config import Config
from .serve import AT_ONCE, OK, banner, listen, serve

FAILED = 1  # exit code
APART = 1.0  # seconds at least between two starts of a child's place
PAUSE_MAX = 30.0  # seconds between starts that fail
FAILURES = 5  # starts in a row, with nobody left who serves, until it is given up
LAST = 10.0  # seconds beyond the grace until a child is killed

log = structlog.get_logger("mailsvc.supervisor")


def run(config: Config) -> int:
    """Serve by as many processes as are configured until SIGTERM or SIGINT. Returns the exit code.

    Raises what `serve` raises.
    """
    if config.processes > 1 and not config.shared:
        log.info("one_process", WEB_CONCURRENCY=config.processes, why="an SQLite file has one owner")
    if config.processes == 1 or not config.shared:
        return asyncio.run(serve(config))
    return Supervisor(config, listen(config)).run()


@dataclass(slots=True)
class Child:
    """A process that serves or is about to. `ready` is a pipe that gets its word when it serves."""

    pid: int
    ready: int
    started_at: float
    serves: bool = False
    silent: bool = False  # its pipe has ended without a word


def pause_after(failures: int) -> float:
    """Seconds until the next start, after so many in a row that have failed."""
    return min(PAUSE_MAX, 2.0 ** min(failures, 10))


class Supervisor:
    """Times are on the monotonic clock."""

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        self._config, self._sockets = config, sockets
        self._children: dict[int, Child] = {}
        self._code: int | None = None  # from the first fault on, or the end
        self._deadline: float | None = None  # to be gone; None before the end has begun
        self._failures, self._not_before = 0, 0.0
        self._served = self._announced = False
        self._wake, self._woken = os.pipe()
        self._life, self._alive = os.pipe()  # its end tells the children that their parent is gone

    def run(self) -> int:
        """Until all have ended. In a child: until it has, which is why it returns twice."""
        for end in (self._wake, self._woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._woken)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        while not (self._deadline is not None and not self._children):
            if self._deadline is None and self._is_short():
                ready = self._start()
                if ready is not None:
                    return self._serve(ready)
            self._wait()
            self._reap()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._tell(signal.SIGKILL)
        log.info("all_stopped", code=self._code or OK)
        return self._code or OK

    # In the parent.

    def _is_short(self) -> bool:
        """Whether one more is to be started now. The first one alone: if it cannot serve, nobody can."""
        wanted = self._config.processes if self._served else 1
        return len(self._children) < wanted and time.monotonic() >= self._not_before

    def _start(self) -> int | None:
        """One more child; in itself, the pipe for its word."""
        theirs, ours = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, or too little memory, for the moment
            os.close(theirs)
            os.close(ours)
            self._failed(FAILED, why=str(error))
            return None
        if pid == 0:
            os.close(theirs)
            return ours
        os.close(ours)
        self._children[pid] = Child(pid, theirs, time.monotonic())
        return None

    def _wait(self) -> None:
        """Until a signal, a word of a child, or the time for something has come."""
        silent = {child.ready: child for child in self._children.values() if not (child.serves or child.silent)}
        due = self._deadline if self._deadline is not None else self._not_before
        left = min(60.0, max(0.05, due - time.monotonic())) if self._is_waiting() else 60.0
        found, _, _ = select.select([self._wake, *silent], [], [], left)
        for pipe in found:
            if pipe == self._wake:
                for number in os.read(self._wake, 4096):
                    self._heard(number)
            elif word := os.read(pipe, 1):
                self._hears(silent[pipe], open_to_all=word == b"o")
            else:
                silent[pipe].silent = True  # it is reaped in a moment

    def _is_waiting(self) -> bool:
        short = len(self._children) < (self._config.processes if self._served else 1)
        return self._deadline is not None or short

    def _heard(self, number: int) -> None:
        """SIGTERM once or often, SIGINT once: end in peace. SIGINT twice: now."""
        if number == signal.SIGINT and self._deadline is not None:
            self._tell(signal.SIGKILL)
            os._exit(AT_ONCE)
        if number in (signal.SIGTERM, signal.SIGINT):
            self._end()

    def _hears(self, child: Child, *, open_to_all: bool) -> None:
        child.serves = self._served = True
        self._failures, self._not_before = 0, 0.0
        log.info("process_serves", pid=child.pid)
        if not self._announced and sum(each.serves for each in self._children.values()) == self._config.processes:
            self._announced = True
            port = self._sockets[0].getsockname()[1]
            print(banner(self._config, port, open_to_all, self._config.smtp_port), flush=True)  # noqa: T201 - for the person who started it

    def _end(self, code: int | None = None) -> None:
        if self._deadline is None:
            log.info("stopping_all", processes=len(self._children))
            self._deadline = time.monotonic() + self._config.grace + LAST
            self._code = code
            os.close(self._alive)
            for each in self._sockets:
                each.close()  # as the children do; their callers are told to come again
            self._tell(signal.SIGTERM)

    def _tell(self, number: int) -> None:
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if child := self._children.pop(pid, None):
                os.close(child.ready)
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        """Replace it, in time; or count its end in."""
        if self._deadline is not None:
            in_peace = code == OK or (code == -signal.SIGTERM and not child.serves)
            self._code = self._code or (OK if in_peace else max(code, FAILED))
            return
        if child.serves:
            log.warning("process_ended", pid=child.pid, code=code)
            self._not_before = child.started_at + APART
            return
        self._failed(code, pid=child.pid)

    def _failed(self, code: int, **more: object) -> None:
        """A start has failed: again in a while, or not any more."""
        self._failures += 1
        nobody = not any(each.serves for each in self._children.values())
        if not self._served or (nobody and self._failures >= FAILURES):
            log.error("given_up", code=code, failed_starts=self._failures, **more)
            self._end(max(code, FAILED) if code else OK)
            return
        pause = pause_after(self._failures)
        self._not_before = time.monotonic() + pause
        log.warning("start_failed", code=code, failed_starts=self._failures, again_in=pause, **more)

    # In a child.

    def _serve(self, ready: int) -> int:
        """What a process alone does, on the parent's sockets and for as long as the parent lives."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for pipe in (self._wake, self._woken, self._alive, *(child.ready for child in self._children.values())):
            os.close(pipe)

        def serving(open_to_all: bool) -> None:
            os.write(ready, b"o" if open_to_all else b"k")

        return asyncio.run(serve(self._config, sockets=self._sockets, serving=serving, life=self._life))
