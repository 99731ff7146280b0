"""The provider that sends nothing: the mail stays in the database, where it can be looked at."""

from __future__ import annotations

from ..ability import Ability
from ..model import Message, Outcome
from ..wire import Answer, Keep, Request
from .base import Provider, Result


class Capture(Provider):
    """Keeps every mail. On when no other provider is, or when asked for."""

    name = "capture"
    rank = 1000
    env = ()
    ability = Ability()

    def request(self, message: Message) -> Request:
        """Nothing to send."""
        return Keep()

    def judge(self, answer: Answer, message: Message) -> Result:
        """Kept; the mail's id serves as the provider's."""
        return Result(Outcome.ACCEPTED, "kept, not sent", provider_message_id=message.id)
