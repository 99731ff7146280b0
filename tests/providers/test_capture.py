"""Capture: keeps everything."""

from mailsvc.model import Outcome
from mailsvc.wire import Keep, Kept
from tests.providers.cases import MESSAGE, Case, check, provider

CASES = [Case("kept", Kept(), Outcome.ACCEPTED, provider_message_id=MESSAGE.id, words="kept, not sent")]


def test_there_is_nothing_to_send() -> None:
    assert provider("capture").request(MESSAGE) == Keep()


def test_what_is_kept_is_accepted_with_the_id_of_the_mail() -> None:
    check("capture", CASES[0])
