"""Scenarios: what happens to the providers of a virtual world, and when. Each is a JSON file; the built-in ones too.

Times are virtual seconds from the start of the run, latencies are seconds, probabilities lie between 0 and 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

BUILT_IN = Path(__file__).parent / "scenarios"
MAX_MAILS = 2_000_000  # of a run: what a laptop simulates in a minute
ERROR_LATENCY = 0.1

Seconds = Annotated[float, Field(ge=0, le=604_800, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Kind = Literal["server", "network", "timeout", "auth", "reject", "rate", "slow"]


class ScenarioError(ValueError):
    """A scenario file cannot be used; the text names each fault with its path in the file."""


class Part(BaseModel):
    """A part of a scenario file; unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Window(Part):
    """From when to when."""

    from_: Seconds = Field(alias="from")
    to: Seconds

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.to <= self.from_:
            raise ValueError(f"ends at {self.to:g}, before it begins at {self.from_:g}")
        return self


class Fault(Window):
    """What goes wrong at a provider. With `probability_to` or `slower_to` it drifts there in a straight line.

    `slower` multiplies the latency of what still succeeds. `latency` is that of the failed answer.
    """

    kind: Kind
    probability: Probability = 1.0
    probability_to: Probability | None = None
    slower: Positive = 1.0
    slower_to: Positive | None = None
    latency: Seconds | None = None
    retry_after: Seconds | None = None

    def at(self, now: float) -> tuple[float, float]:
        """Probability and slowness at a time within the window."""
        share = (now - self.from_) / (self.to - self.from_)
        probability_to = self.probability if self.probability_to is None else self.probability_to
        slower_to = self.slower if self.slower_to is None else self.slower_to
        return (
            self.probability + (probability_to - self.probability) * share,
            self.slower + (slower_to - self.slower) * share,
        )


class Bucket(Part):
    """A token bucket: mails a second, and how many at once after a pause. Else 429 with Retry-After 1."""

    rate: Positive
    burst: Positive


class Crowd(Window):
    """More mails in flight than `limit` are answered 503."""

    limit: Count
    latency: Seconds = ERROR_LATENCY


class ProviderScript(Part):
    """A provider: its score, what a mail costs, its healthy latency (log-normal), its limits and its faults."""

    base: Annotated[float, Field(ge=0, le=1e6)]
    cost: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    median: Positive = 0.25
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.5
    faults: tuple[Fault, ...] = ()
    per_minute: Count | None = None
    quota: Count | None = None
    quota_until: Seconds | None = None
    bucket: Bucket | None = None
    max_in_flight: Crowd | None = None


class Arrivals(Part):
    """Mails that come in a bunch, beside the steady rate: `count` within `spread` seconds, again `every` seconds."""

    at: Seconds
    count: Count
    spread: Seconds = 0.0
    every: Positive | None = None
    poison: bool = False


class Watch(Window):
    """The provider and the time of its fault that leaving and coming back are measured on, in windows of `window` s."""

    provider: str
    window: Positive = 10.0


class Scenario(Part):
    """One run: mails a second, how many may be in flight, the providers, and whom to watch."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]
    about: str = ""
    duration: Annotated[Seconds, Field(gt=0)]
    rate: Annotated[float, Field(ge=0, le=10_000)] = 10.0
    max_in_flight: Count = 200
    timeout: Positive = 15.0
    poison: Probability = 0.0
    arrivals: tuple[Arrivals, ...] = ()
    providers: Annotated[dict[str, ProviderScript], Field(min_length=1, max_length=20)]
    watch: Watch | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.watch and self.watch.provider not in self.providers:
            raise ValueError(f"watch.provider: there is no provider {self.watch.provider!r}")
        if self.watch and self.watch.to > self.duration:
            raise ValueError(f"watch.to: lies behind the end of the run at {self.duration:g}")
        if self.mails > MAX_MAILS:
            raise ValueError(f"rate, duration, arrivals: {self.mails:,.0f} mails are more than {MAX_MAILS:,}")
        return self

    @property
    def mails(self) -> float:
        """How many mails are expected."""
        bunches = sum(
            bunch.count * (1 + max(0.0, self.duration - bunch.at) // bunch.every if bunch.every else 1)
            for bunch in self.arrivals
        )
        return self.rate * self.duration + bunches

    @property
    def watched(self) -> Watch:
        """`watch`, or the provider with the highest score over all of its faults; the whole run if it has none."""
        if self.watch:
            return self.watch
        name = max(self.providers, key=lambda name: self.providers[name].base)
        faults = self.providers[name].faults
        start = min((fault.from_ for fault in faults), default=0.0)
        end = min(self.duration, max((fault.to for fault in faults), default=self.duration))
        return Watch.model_validate({"provider": name, "from": start, "to": end})

    @property
    def bases(self) -> dict[str, float]:
        """What a selector is made of."""
        return {name: provider.base for name, provider in self.providers.items()}


def built_in() -> dict[str, Scenario]:
    """The scenarios that come with mailsvc, by name."""
    found = [load(path) for path in sorted(BUILT_IN.glob("*.json"))]
    return {scenario.name: scenario for scenario in found}


def load(path: Path) -> Scenario:
    """Read a scenario file. Raises ScenarioError."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    try:
        return Scenario.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        lines = [f"  - {_path(fault['loc'])}{_words(fault['msg'])}" for fault in faults]
        raise ScenarioError("\n".join([f"{path} is not a scenario:", *lines])) from error


def _path(location: tuple[int | str, ...]) -> str:
    """`providers.A.faults[0].kind: `; empty for a fault of the file as a whole."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")
    return f"{text}: " if text else ""


def _words(message: str) -> str:
    return message.removeprefix("Value error, ")
