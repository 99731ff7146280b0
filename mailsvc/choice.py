"""Who is asked for a mail now: the selector's choice, within what a doubt about the mail allows.

While a provider may have a mail that it would know by its key, nobody else is asked, and it is asked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from .lookup import Look, Lookups
from .model import Mail, OnUncertain, Payload
from .providers.base import Can, Provider
from .reputation import Reputation
from .selector import Candidate, Flight, Selector

KEY_SHARE = 0.8  # of a key's life that is relied on: clocks differ, and a provider may count from another moment
SENDER_REFUSED_FOR = 300.0  # seconds a provider is not asked again for a sender's domain that it refused
LOOK_AGAIN, LOOK_AGAIN_MAX = 2.0, 60.0  # seconds a mail waits for the one provider that may be asked for it


@dataclass(frozen=True, slots=True)
class Choice:
    """A provider that is going to be asked, and what was known of all of them at that moment.

    `again` is what it was handed for this mail before, to be sent to the byte. `bound`: to find out what became of it.
    """

    provider: str
    flight: Flight
    score: float
    considered: list[dict[str, Any]]
    again: Payload | None = None
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """The one provider that may be asked for this mail cannot be asked now; look again in so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Nobody may be asked until a person or a report settles the doubt."""

    why: str


@dataclass(frozen=True, slots=True)
class Never:
    """No provider that is configured can carry this mail."""

    why: str


@dataclass(frozen=True, slots=True)
class Late:
    """It is too late to send this mail."""


class Chooser:
    """Chooses, and remembers which senders' domains a provider has refused lately.

    `uncertain_after` is in seconds; `clock` gives Unix time, for what was stored.
    """

    def __init__(
        self,
        selector: Selector,
        providers: Mapping[str, Provider],
        uncertain_after: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._selector, self._providers, self._uncertain_after = selector, providers, uncertain_after
        self._clock, self._monotonic = clock, monotonic
        self.reputation = Reputation()
        self._refused_senders: dict[tuple[str, str], float] = {}
        self.lookups = Lookups(name for name, provider in providers.items() if Can.LOOKUP in provider.can)

    def choose(self, mail: Mail, tried: set[str]) -> Choice | Look | Wait | Hold | Never | Late | None:
        """The next provider for this mail, in flight from this moment on; None: nobody may be asked now.

        Wait and Hold tell that it is this mail alone that has to wait: it is uncertain, its sender is refused, or those
        who could carry it cannot be asked.
        """
        if mail.expires_at is not None and mail.expired(self._clock()):
            return Late()
        payload = self._known_by_key(mail)
        if payload and mail.uncertain:
            return self._again(mail, payload) or Wait(self._opens_in(payload.provider))
        if mail.uncertain and not tried and (look := self.lookups.due(mail, self._monotonic())):
            return look if isinstance(look, Look) else Wait(look)
        if mail.uncertain and mail.on_uncertain is OnUncertain.HOLD:
            return Hold(f"{', '.join(sorted(mail.doubted))} may have it, and nothing but a report or a person can tell")
        if mail.uncertain and (left := self._too_early(mail)) > 0:
            return Wait(left)
        # A person has said that it may be sent: by its key if that is possible now.
        by_key = self._again(mail, payload) if payload and payload.provider not in tried else None
        return by_key or self._best(mail, tried)

    def outlook(self, mail: Mail) -> list[dict[str, Any]]:
        """Who would be asked for this mail as things are now, the first one first, and why not each of the others."""
        now, domain = self._monotonic(), mail.sender.domain
        lacks, avoided = self._lacks(mail), self._avoided(mail, now)
        refusing = self._unusable(domain, now) - lacks.keys()
        excluded = refusing | lacks.keys()
        first = self._selector.pick(now, excluded | avoided.keys()) or self._selector.pick(now, excluded)
        words = _words(lacks, refusing, domain) | ({first: _CHOSEN} if first else {})
        rows = self._considered(now, excluded, words, avoided)
        return sorted(rows, key=lambda row: (row["state"] != "chosen", row["state"] != "open", -row["score"]))

    def refuse_sender(self, provider: str, domain: str) -> None:
        """The provider will not send for this domain."""
        self._refused_senders[provider, domain] = self._monotonic() + SENDER_REFUSED_FOR

    def _known_by_key(self, mail: Mail) -> Payload | None:
        """What the provider was handed that may have the mail last and still knows it by its key."""
        now = self._clock()
        for payload in reversed(mail.payloads):
            provider = self._providers.get(payload.provider)
            life = KEY_SHARE * provider.key_life if provider else 0.0
            if payload.provider in mail.doubted and now < payload.at + life:
                return payload
        return None

    def _too_early(self, mail: Mail) -> float:
        """Seconds until a mail may be given to another provider whose key turns out to be of no use."""
        return max((payload.at for payload in mail.payloads), default=0.0) + self._uncertain_after - self._clock()

    def _again(self, mail: Mail, payload: Payload) -> Choice | None:
        """The provider that may have it. A bench is waited for, since a doubt is no reason to hurry."""
        now, name = self._monotonic(), payload.provider
        candidate = self._candidate(name, now)
        if candidate.state == "benched" and candidate.until is not None:
            return None
        if self._selector.pick(now, self._providers.keys() - {name}) is None:
            return None
        why = "may have this mail, and knows it by its key"
        return self._choice(mail, name, now, set(), {name: {"state": "chosen", "reason": why}}, bound=mail.uncertain)

    def _opens_in(self, name: str) -> float:
        now = self._monotonic()
        until = self._candidate(name, now).until
        return LOOK_AGAIN if until is None else min(LOOK_AGAIN_MAX, max(LOOK_AGAIN, until - now))

    def _candidate(self, name: str, now: float) -> Candidate:
        return next(candidate for candidate in self._selector.survey(now) if candidate.name == name)

    def _best(self, mail: Mail, tried: set[str]) -> Choice | Wait | Never | None:
        """The best score. One that may have the mail already is asked only if there is nobody else."""
        now, domain = self._monotonic(), mail.sender.domain
        lacks = self._lacks(mail)
        if len(lacks) == len(self._providers):
            return Never("; ".join(f"{name} {why}" for name, why in lacks.items()))
        refusing = self._unusable(domain, now) - lacks.keys()
        excluded = tried | refusing | lacks.keys()
        avoided = self._avoided(mail, now)
        name = self._selector.pick(now, excluded | mail.doubted | avoided.keys())
        if name is None and avoided:
            name = self._selector.pick(now, excluded | mail.doubted)
        if name is None and mail.doubted:
            name = self._selector.pick(now, excluded)
        if name is None:
            # Such a mail makes room for others: held, it would keep them from being claimed.
            alone = (refusing or lacks) and self._selector.pick(now, tried) is not None
            return Wait(self._sender_refused_for(domain, now) if refusing else LOOK_AGAIN) if alone else None
        words = _words(lacks, refusing, domain) | {name: _CHOSEN}
        return self._choice(mail, name, now, excluded, words, avoided)

    def _avoided(self, mail: Mail, now: float) -> dict[str, str]:
        """The providers that do not get through to a domain of its recipients lately, and why."""
        domains = {box.domain for _, box in mail.people}
        found = ((name, self.reputation.avoids(name, domains, now)) for name in self._providers)
        return {name: why for name, why in found if why}

    def _lacks(self, mail: Mail) -> dict[str, str]:
        """The providers that cannot carry this mail, and why."""
        found = ((name, provider.ability.lacks(mail)) for name, provider in self._providers.items())
        return {name: why for name, why in found if why}

    def _choice(
        self,
        mail: Mail,
        name: str,
        now: float,
        excluded: AbstractSet[str],
        words: Mapping[str, dict[str, str]],
        avoided: Mapping[str, str] | None = None,
        *,
        bound: bool = False,
    ) -> Choice:
        considered = self._considered(now, excluded, words, avoided)
        score = next(row["score"] for row in considered if row["provider"] == name)
        again = next((payload for payload in mail.payloads if payload.provider == name), None)
        return Choice(name, self._selector.start(name, now), score, considered, again, bound)

    def _considered(
        self,
        now: float,
        excluded: AbstractSet[str],
        words: Mapping[str, dict[str, str]],
        avoided: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        considered = []
        for candidate in self._selector.survey(now, excluded):
            said = words.get(candidate.name, {"state": candidate.state, "reason": candidate.reason})
            if avoided and candidate.name in avoided and not said.get("reason"):
                said = {**said, "reason": avoided[candidate.name]}
            considered.append({"provider": candidate.name, "score": round(candidate.score, 3), **said})
        return considered

    def _sender_refused_for(self, domain: str, now: float) -> float:
        return min(until for (_, refused), until in self._refused_senders.items() if refused == domain) - now

    def _unusable(self, domain: str, now: float) -> set[str]:
        """The providers that refused this sender's domain lately."""
        if not self._refused_senders:
            return set()
        self._refused_senders = {pair: until for pair, until in self._refused_senders.items() if until > now}
        return {provider for provider, refused in self._refused_senders if refused == domain}


def _words(lacks: Mapping[str, str], refusing: AbstractSet[str], domain: str) -> dict[str, dict[str, str]]:
    """What is said of providers that are left out for a mail."""
    refused = {"state": "sender_refused", "reason": f"it refused senders of {domain} lately"}
    return dict.fromkeys(refusing, refused) | {who: {"state": "cannot", "reason": why} for who, why in lacks.items()}


_CHOSEN = {"state": "chosen"}
