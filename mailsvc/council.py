"""What processes that share a store say to each other about providers, and the contract of where they say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .feed import Feed


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a process has found out about one provider; None and False say nothing. Times are seconds from now.

    `benched` is whether it is on the bench from now on, for `bench_for`; `memory` is what a bench has to be known by.
    `probed`: this process has claimed a probe, and it is over. A bench is only ended, or a trial counted, with that.
    """

    name: str
    paused: bool | None = None
    resumed: bool = False
    closed_for: float | None = None
    benched: bool | None = None
    bench_for: float = 0.0
    memory: Mapping[str, Any] = field(default_factory=dict)
    probed: bool = False


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all processes go by about one provider. Times are seconds from now, negative when they are over.

    `version` grows with every change, `resumes` with each resume, `bench_number` with each change of the bench, which
    `bench_by` has made. `probed_for`: how long another process may take for a probe, 0 when there is none.
    """

    name: str
    version: int
    paused: bool
    resumes: int
    closed_for: float
    benched: bool
    bench_for: float
    bench_by: str
    bench_number: int
    memory: Mapping[str, Any]
    probed_for: float


class Council(Protocol):
    """Where processes agree. All methods raise StorageUnavailable."""

    async def found(self, names: Sequence[str]) -> None:
        """There are such providers. Changes nothing about those that are known."""

    async def agree(self, process: str, proposals: Sequence[Proposal]) -> list[Agreement]:
        """Merge what a process has found out, and tell what holds for all providers now, for this process.

        The later end of a bench and of a closing wins; a resume ends a pause, and a bench as soon as a probe has
        succeeded. Other processes are told that there is news.
        """

    async def claim_probe(self, process: str, name: str, version: int, seconds: float) -> bool:
        """Whether this process may try a benched provider now: nobody else does, and nothing has changed since
        `version`. After `seconds` it is taken for dead.
        """

    async def show(self, process: str, sight: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Keep what a process has seen (JSON values), and get what each one that lives has shown last."""

    def relay(self, feed: Feed) -> None:
        """Pass the news of mails and attempts on to the other processes, and theirs to this feed while it is heard.

        News may be missed.
        """

    async def tuned(self) -> None:
        """Return when the news of others will be heard, or it takes too long. Somebody has to listen to the feed."""
