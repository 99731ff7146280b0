"""Reports of SES as they come: by Amazon SNS, which is asked for its certificate and told that the topic is wanted."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from tests.e2e.process import ROOT, Mailsvc
from tests.e2e.test_hooks import settings, tell
from tests.fakes import FakeProvider
from tests.fakes.tls import Certificate
from tests.providers import hooks

HOST = "sns.eu-central-1.amazonaws.com"
CONFIRM = f"https://{HOST}/?Action=ConfirmSubscription&Token=t"
# The process asks for Amazon by its name, and finds it here.
NAMES = """
import socket
found = socket.getaddrinfo
def getaddrinfo(host, port, *args, **how):
    return found(*(("127.0.0.1", {port}) if host == "{host}" else (host, port)), *args, **how)
socket.getaddrinfo = getaddrinfo
"""


class Amazon(RequestHandler):
    """Gives the certificate, and takes what else it is asked."""

    def initialize(self, asked: list[str]) -> None:
        """Called by Tornado."""
        self.asked = asked

    async def get(self) -> None:
        """Called by Tornado."""
        self.asked.append(self.request.uri or "")
        self.finish(hooks.amazon()[1] if self.request.path.endswith(".pem") else b"<ConfirmSubscriptionResponse/>")


@asynccontextmanager
async def amazon(folder: Path) -> AsyncIterator[tuple[list[str], dict[str, str]]]:
    """What SNS was asked, and the settings by which a process asks this one."""
    asked: list[str] = []
    certificate = Certificate.make(folder, (HOST,))
    socket, port = bind_unused_port()
    server = HTTPServer(Application([("/.*", Amazon, {"asked": asked})]), ssl_options=certificate.server_context())
    server.add_sockets([socket])
    (folder / "names").mkdir()
    (folder / "names" / "sitecustomize.py").write_text(NAMES.format(host=HOST, port=port))
    yield asked, {"SSL_CERT_FILE": str(certificate.cafile), "PYTHONPATH": f"{folder / 'names'}:{ROOT}"}
    server.stop()
    await server.close_all_connections()


def message(event: str, mail_id: str, number: int, **more: Any) -> hooks.Request:
    """A notification of now."""
    return hooks.sns({"Message": json.dumps(hooks.body("ses", event, number, mail_id, **more))}, time.time(), number)


async def test_a_topic_is_confirmed_and_its_reports_are_merged(tmp_path: Path) -> None:
    bounce = {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": hooks.TO, "diagnosticCode": "550 no"}]}
    subscription = {"Type": "SubscriptionConfirmation", "SubscribeURL": CONFIRM, "Token": "t", "Message": "Confirm"}
    async with amazon(tmp_path) as (asked, there), FakeProvider() as fake:
        async with Mailsvc(tmp_path, **settings(fake, "ses", **there)) as service:
            foreign = await tell(
                service, "ses", hooks.sns({"TopicArn": f"{hooks.TOPIC}2", "Message": "x"}, time.time())
            )
            before = [*asked]
            confirmed = await tell(service, "ses", hooks.sns(subscription, time.time()))
            mail_id = await service.post(to=hooks.TO)
            await service.until(mail_id, "sent")
            delivery = message("Delivery", mail_id, 1, delivery={"recipients": [hooks.TO]})
            answers = [await tell(service, "ses", delivery) for _ in range(2)]
            delivered = await service.until(mail_id, "delivered")
            forged = hooks.Request(delivery.headers, delivery.body.replace(b'"n1"', b'"n7"'))
            refused = await tell(service, "ses", forged)
            answers.append(await tell(service, "ses", message("Bounce", mail_id, 2, bounce=bounce)))
            bounced = await service.until(mail_id, "bounced")
            _, _, suppressed = await service.call("GET", "/suppressions")

    assert (foreign[0], before) == (401, [])
    assert (confirmed, asked.count(CONFIRM.removeprefix(f"https://{HOST}"))) == ((200, {"new": 0}), 1)
    assert answers == [(200, {"new": 1}), (200, {"new": 0}), (200, {"new": 1})]
    assert refused[0] == 401
    assert asked.count("/SimpleNotificationService-0123abcd.pem") == 1  # it is remembered
    assert delivered["provider"] == "ses"
    assert [event["type"] for event in bounced["events"]][:2] == ["delivered", "bounced"]
    assert [(entry["address"], entry["source"]) for entry in suppressed["data"]] == [(hooks.TO, "ses")]
