"""Against django-anymail, whose adapters others wrote and run against the live services: the same mail, field by field.

What differs is listed with the reason; a difference that is not listed fails, and so does one that is gone.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from email import message_from_bytes
from email.mime.image import MIMEImage
from email.policy import HTTP
from email.utils import getaddresses
from importlib import import_module
from typing import Any

import pytest

pytest.importorskip("anymail")
import django
from anymail.message import AnymailMessage
from anymail.utils import UNSET
from django.conf import settings

from mailsvc.model import Message
from mailsvc.wire import HttpRequest
from tests.providers.cases import provider
from tests.providers.whole import WHOLE, sayable

KEYS = ("SENDGRID", "MANDRILL", "MAILGUN", "RESEND", "BREVO", "SPARKPOST")
SETTINGS = {f"{name}_API_KEY": "k" for name in KEYS} | {
    "MAILERSEND_API_TOKEN": "k",
    "POSTMARK_SERVER_TOKEN": "k",
    "MAILGUN_SENDER_DOMAIN": "mg.example.com",
}
CHARSET = "Django decodes a file of text and sends it on in UTF-8; ours are bytes, of the type that the user gave"
DIFFERENCES = {
    "sendgrid": {
        "custom_args.*": "at the top level the official specification asks for a string, and the API for an object",
        "personalizations.0.custom_args.*": "where both agree; with an id of the package instead of ours",
        "reply_to.*": "a single address; the package sends a list of one",
        "reply_to_list.*": "the same",
        "attachments.0.type": CHARSET,
        "attachments.0.disposition": "the default, said in words",
    },
    "mandrill": {
        "message.attachments.0.type": CHARSET,
        "message.merge": "off, so that text which looks like a merge tag stays",
        "message.preserve_recipients": "its default depends on the account",
        "async": "so that the answer has a fate for each recipient",
        "key": "the key",
    },
    "mailgun": {
        "h:X-Weird-Name": "the package changes the case of names, which stay as the user wrote them",
        "h:x-weird-Name": "the same",
        "o:tag.*": "documented as ASCII, so the second of the three is left out",
    },
    "postmark": {
        "Attachments.0.ContentType": CHARSET,
        "Headers.*": "X-PM-KeepID, without which Postmark replaces our Message-ID",
        "MessageStream": "said in words",
    },
    "resend": {
        "headers.X-Metadata": "metadata are tags, which come back in reports, and not headers that everybody reads",
        "headers.X-Tags": "the same",
        "tags.*": "the same",
        "attachments.0.content_type": CHARSET,
    },
    "brevo": {
        "headers.X-Mailin-custom": "the same JSON without spaces; a value beyond ASCII is left out",
        "headers.idempotencyKey": "by which a request that is repeated is known",
        "replyTo.name": "beyond ASCII, in a header that Brevo does not encode; the package sends an encoded word",
        "headers.Message-ID": "Brevo takes no standard header, and makes a Message-ID of its own",
    },
    "sparkpost": {
        "content.attachments.0.type": CHARSET,
        "content.from*": "an object instead of a text; both are documented",
        "content.headers.Cc": "braces in headers are evaluated: a text with some goes as the value of a variable",
        "content.subject": "the same",
        "substitution_data.*": "the same",
        "options.*": "transactional, and without substitutions in text and HTML",
    },
    "mailersend": {},
}


@pytest.fixture(scope="module", autouse=True)
def configured() -> None:
    if not settings.configured:
        settings.configure(ANYMAIL=SETTINGS, USE_TZ=True)
        django.setup()


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_mail_with_everything_is_what_others_send_but_for_what_is_listed(name: str) -> None:
    message = sayable(name)
    ours, theirs = flat(_ours(name, message)), flat(_theirs(name, message))
    differing = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
    listed = DIFFERENCES[name]

    assert [path for path in differing if not any(_matches(path, pattern) for pattern in listed)] == []
    assert [pattern for pattern in listed if not any(_matches(path, pattern) for path in differing)] == []
    assert len(ours.keys() & theirs.keys() - differing) > 15


def _matches(path: str, pattern: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Each value by its path; a text with addresses as the addresses, since a name may be quoted or not."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: each for name, inner in pairs for key, each in flat(inner, f"{path}.{name}".strip(".")).items()}
    if isinstance(value, str) and "@" in value and " <" in value:
        return {path: getaddresses([value])}
    return {path: value}


def _ours(name: str, message: Message) -> Any:
    request = provider(name).request(message)
    assert isinstance(request, HttpRequest)
    return _form(request) if name == "mailgun" else json.loads(request.body)


def _form(request: HttpRequest) -> dict[str, Any]:
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    form: dict[str, Any] = {}
    for part in message_from_bytes(head + request.body, policy=HTTP.clone(utf8=True)).get_payload():
        if not part.get_filename():
            field = part.get_param("name", header="content-disposition")
            form.setdefault(field, []).append(part.get_payload(decode=True).decode())
    files = [part for part in request.body.split(b"\r\n--") if b"filename=" in part]
    form["files"] = [len(part.partition(b"\r\n\r\n")[2]) for part in files]
    return {field: values if len(values) > 1 else values[0] for field, values in form.items()}


def _theirs(name: str, message: Message) -> Any:
    module = import_module(f"anymail.backends.{name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the package has not tried of late, and what Django is going to change
        backend = module.EmailBackend()
        payload = backend.build_message_payload(_django(name, message), backend.send_defaults)
        params = payload.get_request_params(backend.api_url)
    if name != "mailgun":
        return json.loads(params["data"])
    form = params["data"] | {"files": [len(content) for _, (_, content, _) in params["files"]]}
    return {key: each[0] if isinstance(each, list) and len(each) == 1 else each for key, each in form.items()}


def _django(name: str, message: Message) -> AnymailMessage:
    """The same mail in the words of the package, which refuses what a provider cannot be told."""
    mail = AnymailMessage(
        subject=message.subject,
        body=message.text,
        from_email=str(message.sender),
        **{role: [str(each) for each in getattr(message, role)] for role in ("to", "cc", "bcc", "reply_to")},
        headers={**({} if name == "mailersend" else {"Message-ID": message.message_id}), **message.headers},
    )
    mail.attach_alternative(message.html, "text/html")
    for file in message.attachments:
        if file.content_id:
            image = MIMEImage(file.content, file.content_type.partition("/")[2])
            image["Content-ID"] = f"<{file.content_id}>"
            image.add_header("Content-Disposition", "inline", filename=file.filename)
            mail.attach(image)
        else:
            mail.attach(file.filename, file.content, file.content_type)
    one = name in ("postmark", "sparkpost")
    mail.tags = list(message.tags[:1] if one else message.tags)
    mail.metadata = {"mailsvc_id": message.id, **message.metadata}
    if name == "brevo":
        mail.metadata = {key: value for key, value in mail.metadata.items() if value.isascii()}
    if name == "mailersend":
        mail.tags, mail.metadata = [message.id, *message.tags], UNSET
    return mail


def test_a_difference_would_be_noticed() -> None:
    other = flat(_ours("sendgrid", replace(WHOLE, bcc=())))

    assert other != flat(_ours("sendgrid", WHOLE))
