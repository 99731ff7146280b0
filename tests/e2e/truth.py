"""Whether the promises were kept in a test: what the service says of its mails against what fake providers saw."""

from __future__ import annotations

from collections.abc import Sequence

from mailsvc.crashtest.invariants import Evidence, Findings, Posted, Request, examine
from tests.e2e.process import Mailsvc
from tests.fakes import FakeProvider


async def judged(
    service: Mailsvc,
    ids: Sequence[str],
    *fakes: FakeProvider,
    hold: Sequence[str] = (),
    dedupes: bool = False,
    dead: int = 1,
) -> Findings:
    """What is found about mails that were accepted; those in `hold` say so. `dead` processes may be found at a time."""
    mails = {mail_id: await service.mail(mail_id) for mail_id in ids}
    posted = [Posted(mail_id, mail_id, mail_id in hold) for mail_id in ids]
    seen = [entry for fake in fakes for entry in fake.ledger]
    ledger = [Request(entry.at, entry.provider, entry.mail_id, entry.accepted) for entry in seen]
    in_flight = dead * int(service.settings.get("MAILSVC_CONCURRENCY", "64"))
    return examine(Evidence(posted, mails, ledger, dedupes, in_flight))
