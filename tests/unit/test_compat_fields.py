"""Any JSON at all is a mail to the imitated APIs or is refused with its faults, and nothing of it is dropped unsaid."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mailsvc.errors import InvalidMail
from mailsvc.web.compat import postmark, resend, sendgrid
from mailsvc.web.compat.base import Fields

SENDGRID: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "a@b.co"}]}],
    "from": {"email": "a@b.co"},
    "subject": "x",
    "content": [{"type": "text/plain", "value": "x"}],
}
RESEND = {"from": "a@b.co", "to": "a@b.co", "subject": "x", "text": "x"}
POSTMARK = {"From": "a@b.co", "To": "a@b.co", "Subject": "x", "TextBody": "x"}
NAMES = [
    *("attachments", "bcc", "categories", "content", "custom_args", "from", "headers", "html", "mail_settings"),
    *("personalizations", "reply_to", "reply_to_list", "scheduled_at", "send_at", "subject", "tags", "text", "to"),
    *("tracking_settings", "Attachments", "Bcc", "Cc", "From", "Headers", "HtmlBody", "MessageStream", "Metadata"),
    *("ReplyTo", "Subject", "Tag", "To", "TrackLinks", "TrackOpens"),
]
INNER = ["content", "email", "enable", "filename", "name", "type", "value", "Content", "Name", "Value", "sandbox_mode"]
LEAVES = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(allow_nan=False),
    some.sampled_from(["", "a@b.co", "x\0"]),
)
VALUES = some.recursive(
    LEAVES,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from(INNER), inner, max_size=4),
    max_leaves=8,
)
CHANGES = some.dictionaries(some.sampled_from(NAMES), VALUES, max_size=3)


@given(CHANGES)
def test_any_json_is_a_mail_or_refused(changes: dict[str, Any]) -> None:
    with suppress(InvalidMail):
        sendgrid._submissions(SENDGRID | changes)
    for make, mail, names in (
        (resend._submission, RESEND, resend._NAMES),
        (postmark._submission, POSTMARK, postmark._NAMES),
    ):
        fields = Fields(mail | changes, names=names)
        assert (make(fields) is None) == bool(fields.faults)


@pytest.mark.parametrize("value", [True, 1, "x", ["x"], {"x": "x"}])
def test_a_field_that_is_not_known_is_a_fault_wherever_it_stands(value: Any) -> None:
    for place in (SENDGRID, SENDGRID["personalizations"][0], SENDGRID["from"], SENDGRID["content"][0]):
        place["unheard_of"] = value
        with pytest.raises(InvalidMail) as error:
            sendgrid._submissions(SENDGRID)
        del place["unheard_of"]
        assert any("unheard_of" in fault.field for fault in error.value.faults)
    for make, mail in ((resend._submission, RESEND), (postmark._submission, POSTMARK)):
        fields = Fields(mail | {"unheard_of": value})
        assert make(fields) is None
        assert [fault.field for fault in fields.faults] == ["unheard_of"]
