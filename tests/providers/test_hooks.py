"""Whether webhook requests are genuine: vectors that others made, other verifiers, and everything that can be wrong."""

import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sendgrid.helpers.eventwebhook import EventWebhook
from standardwebhooks import Webhook

from mailsvc.errors import HookRefused, HookUnreadable
from mailsvc.hook import DocumentNeeded, Hook
from mailsvc.model import ReportType
from mailsvc.providers import all_providers
from mailsvc.providers.base import Can
from tests.providers import hooks
from tests.providers.hooks import NOW, PUBLIC, Request, changed, hear, request, sns

REPORTING = [name for name, kind in all_providers().items() if Can.REPORT in kind.can]
SIGNED = ["sendgrid", "mandrill", "mailgun", "ses", "resend", "mailersend"]
DATED = ["sendgrid", "mailgun", "ses", "resend"]
DELIVERED = {
    "sendgrid": "delivered",
    "mandrill": "delivered",
    "mailgun": "delivered",
    "postmark": "Delivery",
    "ses": "Delivery",
    "resend": "email.delivered",
    "brevo": "delivered",
    "sparkpost": "delivery",
    "mailersend": "delivered",
}
# Each was accepted by a verifier that others wrote.
VECTORS = {
    "mandrill": (
        "mandrill-test-key",
        {"x-mandrill-signature": "ALxgBGcSvXP+ZKyoCv+c7JZf+gU="},
        (
            b"mandrill_events=%5B%7B%22event%22%3A%22send%22%2C%22_id%22%3A%22abc123%22%2C%22ts%22%3A1700000000%2C%22msg%22"
            b"%3A%7B%22email%22%3A%22to%40example.com%22%2C%22_id%22%3A%22abc123%22%2C%22metadata%22%3A%5B%5D%2C%22tags%22"
            b"%3A%5B%5D%7D%7D%5D"
        ),
    ),
    "mailgun": (
        "mailgun-test-key",
        {},
        json.dumps(
            {
                "signature": {
                    "timestamp": "1700000000",
                    "token": "0123456789abcdef0123456789abcdef0123456789abcdef01",
                    "signature": "46e88f759c7c9ad5767042152d6f0576c9b26d0b1182bdd9fa5054b64f16a5d5",
                },
                "event-data": hooks.body("mailgun", "delivered"),
            }
        ).encode(),
    ),
    "mailersend": (
        "mailersend-test-key",
        {"signature": "7fa4b00e76c45c0bfb24a7363830aff0f1e84bd699c5684ec21712cd43d0866d"},
        (
            b'{"type":"activity.delivered","data":{"type":"delivered","id":"a1","email":{"message":{"id":"ms1"},'
            b'"recipient":{"email":"to@example.com"}}}}'
        ),
    ),
    "resend": (
        "whsec_bWFpbHN2Yy10ZXN0LWtleS0wMDAwMDA=",
        {
            "svix-id": "msg_1",
            "svix-timestamp": "1700000000",
            "svix-signature": "v1,HxEnHylPAeHPCvBaA2WmeY6v1MolYZZyUHj5chShtZM=",
        },
        (
            b'{"type":"email.delivered","created_at":"2026-01-01T00:00:00.000Z","data":{"email_id":"r1",'
            b'"to":["to@example.com"]}}'
        ),
    ),
    "sendgrid": (
        (
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbyNHyrfddoWP4FVaw7yZBIxKrK/ftry+BepsQsSTRWkdGhigpLN0p70z9jK4B5dpt3R1qt5M"
            "pYOMvabjONciqQ=="
        ),
        {
            "x-twilio-email-event-webhook-timestamp": "1700000000",
            "x-twilio-email-event-webhook-signature": "MEUCIQCLQVpjpu9FJTz7lixW5bA4Blp4GdYNFRt8NwqjQDB7tgIgXWDFh99uLtc+"
            "kIq2GE+N19DhxvpHChf2KZboMaK6dDg=",
        },
        (
            b'[{"email":"to@example.com","timestamp":1700000000,"event":"delivered","sg_event_id":"e",'
            b'"sg_message_id":"x.y","anymail_id":"u1"}]\r\n'
        ),
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_that_others_made_is_genuine_and_any_change_of_it_is_not(name: str) -> None:
    key, headers, body = VECTORS[name]
    vector = Request(headers, body)
    (report,) = hear(name, vector, hook_key=key).reports

    assert (report.type, report.recipient) == (
        ReportType.SENT if name == "mandrill" else ReportType.DELIVERED,
        hooks.TO,
    )
    with pytest.raises(HookRefused):
        hear(name, replace(vector, body=body.replace(b"to", b"do").replace(b"0123", b"0124")), hook_key=key)


def test_sendgrid_and_standardwebhooks_take_the_tests_signatures_for_genuine() -> None:
    posted = request("sendgrid", "delivered")
    mark = "x-twilio-email-event-webhook-"
    verifier = EventWebhook(hooks.key("sendgrid"))
    assert verifier.verify_signature(
        posted.body.decode(), posted.headers[f"{mark}signature"], posted.headers[f"{mark}timestamp"]
    )
    now = datetime.now(UTC).timestamp()
    posted = request("resend", "email.delivered", now=now)
    renamed = {name.replace("svix-", "webhook-"): value for name, value in posted.headers.items()}
    assert Webhook(hooks.key("resend")).verify(posted.body, renamed)


@pytest.mark.parametrize("name", REPORTING)
def test_a_genuine_request_names_mail_and_recipient(name: str) -> None:
    (report,) = hear(name, request(name, DELIVERED[name])).reports

    assert (report.type, report.provider, report.mail_id) == (ReportType.DELIVERED, name, hooks.MAIL_ID)
    assert (report.provider_message_id or "").startswith("m1")
    assert report.recipient == hooks.TO
    assert NOW - 120 < report.at <= NOW
    assert hear(name, request(name, DELIVERED[name], 2)).reports[0].event != report.event


def test_every_provider_but_smtp_and_capture_can_report() -> None:
    assert set(all_providers()) - set(REPORTING) == {"smtp", "capture"}
    assert sorted(DELIVERED) == sorted(REPORTING)
    assert all(all_providers()[name].hook_words for name in REPORTING)


def mutations(name: str) -> dict[str, tuple[Request, float, str | None]]:
    """What can be wrong with a signed request: the request, the time, and another key where that is what is wrong."""
    good = request(name, DELIVERED[name])
    foreign = "resend" if name == "mailersend" else "mailersend"
    body = good.body.replace(hooks.TO.encode(), b"eve@example.com").replace(b"to%40", b"eve%40")
    wrong: dict[str, tuple[Request, float, str | None]] = {
        "another body": (replace(good, body=body), NOW, None),
        "another provider's": (request(foreign, DELIVERED[foreign]), NOW, None),
        "cut": (replace(good, body=good.body[:-3]), NOW, None),
        "nothing": (Request({}, b""), NOW, None),
    }
    if name == "mailgun":  # whose signature is not about the event
        fields = json.loads(good.body)
        for part in ("timestamp", "token", "signature"):
            proof = fields["signature"] | {part: fields["signature"][part][:-1] + "x"}
            wrong[f"another {part}"] = (
                replace(good, body=json.dumps(fields | {"signature": proof}).encode()),
                NOW,
                None,
            )
        wrong["no signature"] = (
            replace(good, body=json.dumps({"event-data": fields["event-data"]}).encode()),
            NOW,
            None,
        )
        del wrong["another body"]
    for header in () if name == "ses" else good.headers:
        flipped = good.headers[header][:-3] + ("AAA" if good.headers[header][-3:] != "AAA" else "BBB")
        wrong[f"no {header}"] = (changed(good, **{header: None}), NOW, None)
        wrong[f"another {header}"] = (changed(good, **{header: flipped}), NOW, None)
        wrong[f"odd {header}"] = (changed(good, **{header: "\u00fc=?"}), NOW, None)
    if name in DATED:
        late = 3700.0 if name == "ses" else 301.0
        wrong["too old"] = (good, NOW + late, None)
        wrong["too early"] = (good, NOW - late, None)
    keys = {"sendgrid": VECTORS["sendgrid"][0], "resend": VECTORS["resend"][0], "ses": hooks.TOPIC + "2"}
    wrong["another key"] = (good, NOW, keys.get(name, "another key of the tests"))
    return wrong


@pytest.mark.parametrize("name", SIGNED)
def test_whatever_is_wrong_with_a_signed_request_it_is_refused(name: str) -> None:
    wrong = mutations(name)

    assert len(wrong) >= 7
    for what, (posted, now, key) in wrong.items():
        with pytest.raises(HookRefused):
            pytest.fail(f"{what}: {hear(name, posted, now, key)}")


@pytest.mark.parametrize("name", DATED)
def test_a_signed_request_is_fresh_for_five_minutes(name: str) -> None:
    posted = request(name, DELIVERED[name])

    assert hear(name, posted, NOW + 299).reports
    assert hear(name, posted, NOW - 299).reports


@pytest.mark.parametrize("name", ["postmark", "brevo", "sparkpost"])
def test_a_provider_that_signs_nothing_has_a_password(name: str) -> None:
    good = request(name, DELIVERED[name])
    bearer = changed(good, authorization=f"Bearer {hooks.SECRET}")
    assert hear(name, bearer).reports == hear(name, good).reports
    wrong = [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + b64encode(b"mailsvc:wrong").decode(),
        "Basic " + b64encode(hooks.SECRET.encode()).decode(),
        f"Basic {hooks.SECRET}",
        "Bearer ",
        f"Bearer {hooks.SECRET}x",
        f"Digest {hooks.SECRET}",
        "\u00fc",
    ]
    for given in wrong:
        with pytest.raises(HookRefused):
            hear(name, changed(good, authorization=given))


@pytest.mark.parametrize("name", REPORTING)
@pytest.mark.parametrize(
    "document", [[], {}, [1, None, "x", []], {"event": 5}, {"data": []}, {"msys": {}}, [{"msys": 1}]]
)
def test_a_genuine_request_that_says_nothing_known_has_no_reports(name: str, document: object) -> None:
    assert hear(name, hooks.sign(name, document)).reports == ()


def test_a_genuine_request_that_holds_no_events_is_said_to_be_none() -> None:
    for name in ("sendgrid", "postmark"):
        with pytest.raises(HookUnreadable):
            hear(name, hooks.sign(name, 7))
    with pytest.raises(HookUnreadable):
        hear("brevo", replace(request("brevo", "delivered"), body=b"{"))


def test_texts_of_a_provider_are_made_harmless() -> None:
    event = hooks.body("sendgrid", "bounce", type="bounce", reason="x\u0000\r\ny key-of-the-tests " + "z" * 5000)
    event[0] |= {"sg_event_id": "e\u0000" + "i" * 5000, "email": "a\u2028b@example.com", "timestamp": "later"}
    (report,) = hear("sendgrid", hooks.sign("sendgrid", event)).reports

    assert (report.detail or "").startswith("x y *** zzz")
    assert len(report.detail or "") == 1000
    assert (len(report.event) <= 255, report.recipient, report.at) == (True, "a b@example.com", NOW)


# Amazon SNS.


def test_both_versions_of_the_signature_are_known() -> None:
    for version in ("1", "2"):
        message = json.dumps(hooks.body("ses", "Delivery"))
        assert hear("ses", sns({"Message": message, "Subject": "s"}, version=version)).reports


def test_the_certificate_is_asked_for_once_the_topic_is_right() -> None:
    posted = request("ses", "Delivery")
    with pytest.raises(DocumentNeeded) as needed:
        hear("ses", replace(posted, documents={}))

    assert needed.value.url == hooks.CERTIFICATE_URL
    with pytest.raises(HookRefused):
        hear("ses", replace(posted, documents={}), hook_key=hooks.TOPIC + "2")


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://evil.com/sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.com/SimpleNotificationService-1.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.com/SimpleNotificationService-1.pem",
        "https://evil@sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://s3.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-central-1.amazonaws.com/bucket/SimpleNotificationService-1.pem",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem/../x",
        "https://sns.eu-central-1.amazonaws.com\\@evil.com/SimpleNotificationService-1.pem",
        "",
    ],
)
def test_a_certificate_from_elsewhere_is_never_fetched(url: str) -> None:
    posted = sns({"Message": json.dumps(hooks.body("ses", "Delivery")), "SigningCertURL": url})
    with pytest.raises(HookRefused):
        hear("ses", replace(posted, documents={}))


def test_a_certificate_that_is_out_of_date_or_none_proves_nothing() -> None:
    posted = request("ses", "Delivery", now=NOW + 400 * 86_400 * 10)
    with pytest.raises(HookRefused):
        hear("ses", posted, NOW + 400 * 86_400 * 10)
    posted = request("ses", "Delivery")
    with pytest.raises(HookRefused):
        hear("ses", replace(posted, documents={hooks.CERTIFICATE_URL: b"-----BEGIN CERTIFICATE-----"}))


def test_a_subscription_is_confirmed_for_the_topic_alone_and_at_amazon_alone() -> None:
    url = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    fields = {"Type": "SubscriptionConfirmation", "Message": "You have chosen …", "Token": "t", "SubscribeURL": url}

    assert hear("ses", sns(fields)).visit == url
    for wrong in ({"TopicArn": hooks.TOPIC + "2"}, {"SubscribeURL": "https://evil.com/?x=amazonaws.com"}):
        with pytest.raises(HookRefused):
            hear("ses", sns(fields | wrong))


def test_the_words_by_which_ses_tries_a_topic_are_no_report() -> None:
    assert (
        hear("ses", sns({"Message": "Successfully validated SNS topic for Amazon SES event publishing."})).reports == ()
    )


def test_a_webhook_key_that_cannot_be_one_is_a_fault_of_the_settings() -> None:
    wrong = {"sendgrid": "SG.abc", "resend": "re_123", "ses": "arn:aws:sqs:x", "postmark": "short", "mailgun": "a b"}
    for name, key in wrong.items():
        (fault,) = hooks.provider(name).faults(replace(hooks.provider(name).settings, hook_key=key))
        assert fault.startswith(f"{name.upper()}_WEBHOOK_KEY ")
        assert f"{key} " not in fault
    for name in REPORTING:
        assert hooks.provider(name).faults(hooks.provider(name).settings) == []


def test_a_hook_does_not_show_its_secrets() -> None:
    posted = request("postmark", "Delivery")
    shown = repr(Hook(posted.headers, posted.body, NOW)) + repr(hooks.provider("postmark").settings)

    assert hooks.SECRET not in shown
    assert PUBLIC not in shown
