"""How tests speak to the selector: one attempt at a time, and what is known of one provider."""

import random

from mailsvc.selector import Candidate, Selector, Verdict

BASES = {"a": 50.0, "b": 40.0}


def make(bases=BASES, exact=False, seed=7):
    return Selector(bases, rng=random.Random(seed), exact=exact)


def attempt(selector, name, verdict, at, took=0.1, retry_after=None):
    """One attempt that ends at `at`."""
    flight = selector.start(name, at - took)
    selector.finish(flight, verdict, at, retry_after)
    return flight


def standing(selector, name, now) -> Candidate:
    return next(candidate for candidate in selector.survey(now) if candidate.name == name)


def score(selector, name, now):
    return standing(selector, name, now).score


def state(selector, name, now):
    return standing(selector, name, now).state


def health(selector, name, now):
    return next(found.health for found in selector.snapshot(now) if found.name == name)


def benched(at=10.0):
    """A selector whose `a` has just been benched by three server errors, and the end of that bench."""
    selector = make()
    for number in range(3):
        attempt(selector, "a", Verdict.SERVER_ERROR, at - 0.2 + number / 10)
    return selector, standing(selector, "a", at).until


def spare(selector, now, mails=11):
    """Send mails elsewhere, so that a probe is earned."""
    for _ in range(mails):
        attempt(selector, "b", Verdict.OK, now)
