"""Every event of every provider, and the word that it has here."""

from typing import Any

import pytest

from mailsvc.model import ReportType
from tests.providers import hooks
from tests.providers.hooks import hear, request, sns

SOFT, HARD, UNKNOWN = False, True, None
CLASSES = {
    **dict.fromkeys(("10", "30", "90"), HARD),
    **dict.fromkeys(("20", "21", "22", "23", "24", "40", "70", "50", "51", "52", "53", "54"), SOFT),
    **dict.fromkeys(("1", "25", None), UNKNOWN),
}
HARD_TYPES = ("HardBounce", "BadEmailAddress", "Blocked", "SpamNotification", "ManuallyDeactivated", "DMARCPolicy")
EVENTS: list[tuple[str, str, dict[str, Any], str, bool | None]] = [
    ("sendgrid", "processed", {}, "sent", None),
    ("sendgrid", "deferred", {"response": "450 later"}, "delayed", None),
    ("sendgrid", "delivered", {}, "delivered", None),
    ("sendgrid", "bounce", {"type": "bounce"}, "bounced", HARD),
    ("sendgrid", "bounce", {"type": "blocked"}, "bounced", SOFT),
    ("sendgrid", "dropped", {"reason": "Bounced Address"}, "rejected", None),
    ("sendgrid", "spamreport", {}, "complained", None),
    ("sendgrid", "open", {}, "opened", None),
    ("sendgrid", "click", {}, "clicked", None),
    ("sendgrid", "unsubscribe", {}, "unsubscribed", None),
    ("sendgrid", "group_unsubscribe", {}, "unsubscribed", None),
    ("mandrill", "send", {}, "sent", None),
    ("mandrill", "deferral", {}, "delayed", None),
    ("mandrill", "delivered", {}, "delivered", None),
    ("mandrill", "hard_bounce", {}, "bounced", HARD),
    ("mandrill", "soft_bounce", {}, "bounced", SOFT),
    ("mandrill", "reject", {}, "rejected", None),
    ("mandrill", "spam", {}, "complained", None),
    ("mandrill", "open", {}, "opened", None),
    ("mandrill", "click", {}, "clicked", None),
    ("mandrill", "unsub", {}, "unsubscribed", None),
    ("mailgun", "accepted", {}, "sent", None),
    ("mailgun", "delivered", {}, "delivered", None),
    ("mailgun", "failed", {"severity": "temporary", "delivery-status": {"code": 450}}, "delayed", None),
    ("mailgun", "failed", {"severity": "permanent", "delivery-status": {"code": 550}}, "bounced", HARD),
    ("mailgun", "failed", {"severity": "permanent", "reason": "suppress-bounce"}, "rejected", None),
    ("mailgun", "rejected", {"recipient": None, "reject": {"reason": "spam"}}, "rejected", None),
    ("mailgun", "complained", {}, "complained", None),
    ("mailgun", "opened", {}, "opened", None),
    ("mailgun", "clicked", {}, "clicked", None),
    ("mailgun", "unsubscribed", {}, "unsubscribed", None),
    ("postmark", "Delivery", {}, "delivered", None),
    ("postmark", "SpamComplaint", {}, "complained", None),
    ("postmark", "Open", {}, "opened", None),
    ("postmark", "Click", {"OriginalLink": "https://example.com"}, "clicked", None),
    ("postmark", "SubscriptionChange", {"SuppressionReason": "ManualSuppression"}, "unsubscribed", None),
    *[
        ("postmark", "Bounce", {"Type": kind, "ID": 7}, "bounced", HARD)
        for kind in (
            "HardBounce",
            "BadEmailAddress",
            "Blocked",
            "SpamNotification",
            "ManuallyDeactivated",
            "DMARCPolicy",
        )
    ],
    *[
        ("postmark", "Bounce", {"Type": kind}, "bounced", SOFT)
        for kind in ("Transient", "DnsError", "AddressChange", "OpenRelayTest", "SoftBounce")
    ],
    ("postmark", "Bounce", {"Type": "Unknown"}, "bounced", UNKNOWN),
    ("postmark", "Bounce", {"Type": "AutoResponder"}, "sent", None),
    ("postmark", "Bounce", {"Type": "SpamComplaint"}, "complained", None),
    ("ses", "Send", {}, "sent", None),
    ("ses", "DeliveryDelay", {"deliveryDelay": {"delayedRecipients": [{"emailAddress": hooks.TO}]}}, "delayed", None),
    ("ses", "Delivery", {"delivery": {"recipients": [hooks.TO]}}, "delivered", None),
    *[
        (
            "ses",
            "Bounce",
            {"bounce": {"bounceType": kind, "bouncedRecipients": [{"emailAddress": hooks.TO}]}},
            "bounced",
            permanent,
        )
        for kind, permanent in (("Permanent", HARD), ("Transient", SOFT), ("Undetermined", UNKNOWN))
    ],
    ("ses", "Complaint", {"complaint": {"complainedRecipients": [{"emailAddress": hooks.TO}]}}, "complained", None),
    ("ses", "Reject", {"reject": {"reason": "Bad content"}}, "rejected", None),
    ("ses", "Rendering Failure", {}, "rejected", None),
    ("ses", "Open", {}, "opened", None),
    ("ses", "Click", {}, "clicked", None),
    ("ses", "Subscription", {}, "unsubscribed", None),
    ("resend", "email.sent", {}, "sent", None),
    ("resend", "email.delivery_delayed", {}, "delayed", None),
    ("resend", "email.delivered", {}, "delivered", None),
    ("resend", "email.bounced", {"bounce": {"type": "Permanent", "message": "no"}}, "bounced", HARD),
    ("resend", "email.bounced", {"bounce": {"type": "Transient"}}, "bounced", SOFT),
    ("resend", "email.bounced", {"bounce": {"type": "Undetermined"}}, "bounced", UNKNOWN),
    ("resend", "email.failed", {"failed": {"reason": "quota"}}, "rejected", None),
    ("resend", "email.suppressed", {"suppressed": {"reason": "previous_bounce"}}, "rejected", None),
    ("resend", "email.complained", {}, "complained", None),
    ("resend", "email.opened", {}, "opened", None),
    ("resend", "email.clicked", {}, "clicked", None),
    ("brevo", "request", {}, "sent", None),
    ("brevo", "deferred", {"reason": "later"}, "delayed", None),
    ("brevo", "delivered", {}, "delivered", None),
    ("brevo", "hard_bounce", {}, "bounced", HARD),
    ("brevo", "soft_bounce", {}, "bounced", SOFT),
    *[("brevo", kind, {}, "rejected", None) for kind in ("blocked", "invalid_email", "error")],
    *[("brevo", kind, {}, "complained", None) for kind in ("spam", "complaint")],
    *[("brevo", kind, {}, "unsubscribed", None) for kind in ("unsubscribe", "unsubscribed")],
    *[("brevo", kind, {}, "opened", None) for kind in ("opened", "unique_opened", "proxy_open", "unique_proxy_open")],
    ("brevo", "click", {}, "clicked", None),
    ("sparkpost", "injection", {}, "sent", None),
    ("sparkpost", "delay", {}, "delayed", None),
    ("sparkpost", "delivery", {}, "delivered", None),
    *[("sparkpost", "bounce", {"bounce_class": kind}, "bounced", permanent) for kind, permanent in CLASSES.items()],
    ("sparkpost", "bounce", {"bounce_class": "60"}, "sent", None),
    ("sparkpost", "out_of_band", {"bounce_class": "10"}, "bounced", HARD),
    *[
        ("sparkpost", kind, {}, "rejected", None)
        for kind in ("policy_rejection", "generation_failure", "generation_rejection")
    ],
    ("sparkpost", "spam_complaint", {}, "complained", None),
    *[("sparkpost", kind, {}, "opened", None) for kind in ("open", "initial_open")],
    ("sparkpost", "click", {}, "clicked", None),
    *[("sparkpost", kind, {}, "unsubscribed", None) for kind in ("list_unsubscribe", "link_unsubscribe")],
    ("mailersend", "sent", {}, "sent", None),
    ("mailersend", "delivered", {}, "delivered", None),
    ("mailersend", "soft_bounced", {"morph": {"reason": "full"}}, "bounced", SOFT),
    ("mailersend", "hard_bounced", {"morph": {"reason": "no such user"}}, "bounced", HARD),
    ("mailersend", "opened", {}, "opened", None),
    ("mailersend", "clicked", {}, "clicked", None),
    ("mailersend", "unsubscribed", {}, "unsubscribed", None),
    ("mailersend", "spam_complaint", {}, "complained", None),
]


@pytest.mark.parametrize(("name", "event", "more", "kind", "permanent"), EVENTS)
def test_an_event_has_one_word_here(
    name: str, event: str, more: dict[str, Any], kind: str, permanent: bool | None
) -> None:
    (report,) = hear(name, request(name, event, **more)).reports

    assert (report.type, report.permanent) == (ReportType(kind), permanent)
    assert (report.mail_id, report.recipient) == (hooks.MAIL_ID, hooks.TO)


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("sendgrid", "group_resubscribe"),
        ("mandrill", "blacklist"),
        ("mailgun", "stored"),
        ("postmark", "Inbound"),
        ("postmark", "SubscriptionChange"),
        ("ses", "New"),
        ("resend", "email.received"),
        ("brevo", "list_addition"),
        ("sparkpost", "relay_delivery"),
        ("mailersend", "survey_opened"),
    ],
)
def test_an_event_that_is_no_news_of_a_mail_is_left_alone(name: str, event: str) -> None:
    assert hear(name, request(name, event)).reports == ()


@pytest.mark.parametrize(
    ("name", "event", "more", "detail"),
    [
        ("sendgrid", "bounce", {"reason": "550 no", "status": "5.1.1"}, "550 no: 5.1.1"),
        ("mandrill", "hard_bounce", {"diag": "smtp;550 no"}, "smtp;550 no"),
        ("mailgun", "failed", {"delivery-status": {"code": 550, "message": "no"}, "reason": "old"}, "550: no: old"),
        ("postmark", "Bounce", {"Type": "HardBounce", "Details": "550 no"}, "HardBounce: 550 no"),
        ("resend", "email.bounced", {"bounce": {"subType": "General", "message": "no"}}, "General: no"),
        ("brevo", "hard_bounce", {"reason": "550 no"}, "550 no"),
        ("sparkpost", "bounce", {"raw_reason": "550 no", "reason": "hidden"}, "550 no"),
        ("mailersend", "hard_bounced", {"morph": {"reason": "no"}}, "no"),
    ],
)
def test_the_reason_is_kept(name: str, event: str, more: dict[str, Any], detail: str) -> None:
    assert hear(name, request(name, event, **more)).reports[0].detail == detail


@pytest.mark.parametrize("name", hooks.NAMES)
def test_a_mail_that_was_not_sent_from_here_has_no_id_of_ours(name: str) -> None:
    events = {"postmark": "Delivery", "ses": "Send", "resend": "email.sent", "sparkpost": "delivery"}
    for foreign in (None, "not an id", "x" * 36):
        (report,) = hear(name, request(name, events.get(name, "delivered"), mail_id=foreign)).reports
        assert report.mail_id is None
        assert report.provider_message_id is not None


def test_each_recipient_that_amazon_names_has_a_report_of_its_own() -> None:
    people = [{"emailAddress": f"{name}@example.com", "diagnosticCode": "smtp; 550"} for name in ("ann", "bob")]
    bounce = {"bounceType": "Permanent", "bouncedRecipients": people}
    reports = hear("ses", request("ses", "Bounce", bounce=bounce)).reports

    assert [report.recipient for report in reports] == ["ann@example.com", "bob@example.com"]
    assert len({report.event for report in reports}) == 2


def test_who_opened_a_mail_to_several_is_not_told_by_amazon_and_of_several_nothing_by_resend() -> None:
    event = hooks.body("ses", "Open")
    event["mail"]["destination"] = ["ann@example.com", "bob@example.com"]
    (opened,) = hear("ses", hooks.sign("ses", event)).reports
    (bounced,) = hear("resend", request("resend", "email.bounced", to=["ann@example.com", "bob@example.com"])).reports

    assert (opened.recipient, bounced.recipient) == (None, None)


def test_the_older_notifications_of_amazon_are_understood() -> None:
    event = hooks.body("ses", "Delivery")
    event["notificationType"] = event.pop("eventType")
    del event["mail"]["tags"]
    (report,) = hear("ses", hooks.sign("ses", event)).reports

    assert (report.type, report.mail_id, report.provider_message_id) == (ReportType.DELIVERED, None, "m1")
    assert (
        hear("ses", sns({"Type": "UnsubscribeConfirmation", "Message": "", "Token": "", "SubscribeURL": ""})).reports
        == ()
    )


def test_a_batch_of_brevo_is_read_event_by_event() -> None:
    batch = [hooks.body("brevo", "delivered", number) for number in (1, 2)]

    assert len({report.event for report in hear("brevo", hooks.sign("brevo", batch)).reports}) == 2
