"""How the service is, in words for a person; and what is missing before real mail may depend on it."""

from __future__ import annotations

from ..config import SANDBOX_SENDER, Config
from ..errors import Unavailable
from ..service import Service

ASKED = ("open", "full")  # states of a provider that gets mail


async def health(service: Service) -> tuple[bool, str]:
    """Whether something is wrong, and how it is: `3 of 4 providers open`."""
    try:
        await service.ready()
    except Unavailable as error:
        return True, f"takes no mail: {error}"
    states = [state.state for state, _ in service.providers()]
    asked = sum(state in ASKED for state in states)
    noun = "provider" if len(states) == 1 else "providers"
    if asked == len(states):
        return False, f"all {asked} providers open" if asked > 1 else f"{next(iter(service.config.providers))} is open"
    if asked:
        return True, f"{asked} of {len(states)} {noun} open"
    return True, "no provider open: mail waits" if len(states) > 1 else "the only provider is not open: mail waits"


def gaps(config: Config) -> list[tuple[str, str]]:
    """What production would want, as what is missing and what to do."""
    found = []
    if config.rehearsal:
        return [("A rehearsal.", "Three pretended providers; every mail stays here and is gone when the process ends.")]
    if config.capture_only:
        found.append(("Capture only.", "MAILSVC_CAPTURE=1 keeps every mail here; remove it to send."))
    elif not config.live:
        found.append(("No provider.", "Mail is kept here, nothing is sent. Set SENDGRID_API_KEY, SMTP_URL or another."))
    elif len(config.providers) == 1:
        found.append(("One provider.", "When it fails, mail waits. Configure a second one, and it takes over."))
    if config.api_key is None:
        found.append(
            ("No API key.", "Every program on this machine can send. Set MAILSVC_API_KEY to a long random key.")
        )
    if config.sender == SANDBOX_SENDER:
        found.append(("No sender.", "Set MAILSVC_FROM to an address that your provider has verified."))
    if config.public_url is None and not config.loopback:
        found.append(("No public URL.", "Set MAILSVC_PUBLIC_URL, so that links and signatures name the right host."))
    return found + [("Check a setting.", note) for note in config.notes]
