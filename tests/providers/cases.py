"""What the tests of all providers share: the mail they send, and the rows of the tables that say what answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

import pytest

from mailsvc.address import Mailbox
from mailsvc.model import Message, Outcome, new_id
from mailsvc.providers import all_providers
from mailsvc.providers.base import HttpProvider, Provider, Settings
from mailsvc.wire import Answer, Response

AT = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
MESSAGE = Message(
    id=new_id(AT),
    sender=Mailbox("shop@example.com", "Tö, the Shop"),
    to=(Mailbox("Ann@example.org", "Ann Ünder"), Mailbox("bob@example.net")),
    subject="Grüße: 100 % {{sure}} *|NAME|* 😀",
    html="<p>Hällo {{name}} *|NAME|* %recipient.x%</p>",
    text="Hällo {{name}} *|NAME|* %recipient.x%\n.\n",
)
NAMES = list(all_providers())
HTTP = [name for name, kind in all_providers().items() if issubclass(kind, HttpProvider)]
every = pytest.mark.parametrize("name", NAMES)
every_http = pytest.mark.parametrize("name", HTTP)
every_sending = pytest.mark.parametrize("name", [name for name in NAMES if name != "capture"])
ENCODED_WORD = "=?utf-8?q?a=0D=0ABcc:x@evil.test?="


@dataclass(frozen=True, slots=True)
class Case:
    """One row: an answer, and what it means. `words` must stand in the detail."""

    name: str
    answer: Answer
    outcome: Outcome
    retry_after: float | None = None
    provider_message_id: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    soft: bool = False
    untold: tuple[str, ...] = ()
    stuck: bool = False
    words: str = ""

    def __str__(self) -> str:
        return self.name


def provider(name: str, url: str | None = None, **values: str) -> Provider:
    """A provider whose variables hold their examples, or a recognisable secret, or what is given."""
    kind = all_providers()[name]
    defaults = {variable: kind.example.get(variable, f"secret-of-{variable}") for variable in kind.env}
    return kind(Settings(defaults | values, url))


def check(name: str, case: Case) -> None:
    """Assert that the provider reads the answer as the row says."""
    result = provider(name).read(case.answer, MESSAGE)

    assert (result.outcome, result.retry_after, result.stuck) == (case.outcome, case.retry_after, case.stuck)
    assert result.provider_message_id == case.provider_message_id
    assert dict(result.refused) == dict(case.refused)
    assert (result.soft, result.untold) == (case.soft, case.untold)
    assert result.http_status == (case.answer.status if isinstance(case.answer, Response) else None)
    assert case.words in result.detail
    assert result.detail


def cases(name: str) -> list[Case]:
    """The rows of a provider's own tests."""
    found = import_module(f"tests.providers.test_{name}").CASES
    assert all(isinstance(case, Case) for case in found)
    return list(found)


def response(status: int, body: bytes = b"", **headers: str) -> Response:
    """An answer; `retry_after=` stands for the header `retry-after`."""
    return Response(status, {key.replace("_", "-"): value for key, value in headers.items()}, body, AT)
