"""How reports are taken in and worked off: with an outbox in a file and no network."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailsvc.errors import HookRefused, NotFound, NotSent, StorageUnavailable, Unavailable
from mailsvc.feed import Feed
from mailsvc.hook import at_iso
from mailsvc.model import Status
from mailsvc.outbox import open_outbox
from mailsvc.outbox.base import LOOK_AGAIN, Outbox
from mailsvc.providers.base import Settings
from mailsvc.reports import FETCHES, Reports
from mailsvc.tally import Tally
from mailsvc.wire import Answer, HttpRequest, Request, Response
from tests.contract.samples import addition, beginning, settlement, shown, store
from tests.providers import hooks

AMAZON = hooks.amazon()[1]


class Web:
    """What would be fetched: answers by the start of the URL, and what was asked."""

    def __init__(self, answers: Mapping[str, Response | Exception]) -> None:
        self.answers, self.asked = answers, list[str]()

    async def __call__(self, request: Request) -> Answer:
        assert isinstance(request, HttpRequest)
        assert (request.method, request.headers, request.body) == ("GET", {}, b"")
        self.asked.append(request.url)
        answer = next(answer for start, answer in self.answers.items() if request.url.startswith(start))
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def reporting(
    folder: Path, *names: str, **answers: Response | Exception
) -> AsyncIterator[tuple[Reports, Outbox, Web]]:
    web = Web({hooks.CERTIFICATE_URL: Response(200, body=AMAZON)} | {f"https://{k}": v for k, v in answers.items()})
    outbox = await open_outbox(f"sqlite:///{folder}/outbox.db")
    providers = {name: hooks.provider(name) for name in names}
    try:
        yield Reports(outbox, providers, web, Feed(), Tally(), hooks.PUBLIC), outbox, web
    finally:
        await outbox.close()


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailsvc.reports.time.time", lambda: hooks.NOW)


async def take(reports: Reports, name: str, request: hooks.Request) -> int:
    return await reports.take(name, request.headers, request.body)


async def test_the_certificate_of_amazon_is_fetched_once_and_the_report_is_merged(tmp_path: Path) -> None:
    async with reporting(tmp_path, "ses") as (reports, outbox, web):
        (mail_id,) = await store(outbox, addition(id=hooks.MAIL_ID, to=(hooks.mailbox(),)))
        await outbox.begin([beginning(mail_id, provider="ses")])
        await outbox.settle([settlement(mail_id, provider="ses")])
        taken = [await take(reports, "ses", hooks.request("ses", "Delivery", number)) for number in (1, 2, 1)]
        more = await reports.fold()
        record = await shown(outbox, mail_id)

    assert (taken, more, web.asked) == ([1, 1, 0], False, [hooks.CERTIFICATE_URL])
    assert record.status is Status.DELIVERED


async def test_a_subscription_is_confirmed_by_opening_the_url(tmp_path: Path) -> None:
    url = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    fields = {"Type": "SubscriptionConfirmation", "Message": "m", "Token": "t", "SubscribeURL": url}
    forged = fields | {"TopicArn": hooks.TOPIC + "2"}
    how = {"sns.eu-central-1.amazonaws.com/?": Response(200, body=b"<ok/>")}
    async with reporting(tmp_path, "ses", **how) as (reports, _, web):
        assert await take(reports, "ses", hooks.sns(fields)) == 0
        with pytest.raises(HookRefused):
            await take(reports, "ses", hooks.sns(forged))

    assert web.asked == [hooks.CERTIFICATE_URL, url]


@pytest.mark.parametrize("answer", [NotSent("name not found"), Response(403), Response(200, complete=False)])
async def test_without_the_certificate_amazon_is_asked_to_come_again(tmp_path: Path, answer: Response) -> None:
    start = hooks.CERTIFICATE_URL.removeprefix("https://")
    async with reporting(tmp_path, "ses") as (reports, _, web):
        web.answers = {f"https://{start}": answer}
        with pytest.raises(Unavailable):
            await take(reports, "ses", hooks.request("ses", "Delivery"))
        web.answers = {f"https://{start}": Response(200, body=AMAZON)}

        assert await take(reports, "ses", hooks.request("ses", "Delivery")) == 1


async def test_nobody_makes_mailsvc_fetch_much(tmp_path: Path) -> None:
    async with reporting(tmp_path, "ses") as (reports, _, web):
        web.answers = {"https://": Response(404)}
        for number in range(3 * FETCHES):
            url = f"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-{number}.pem"
            with pytest.raises(Unavailable):
                await take(reports, "ses", hooks.sns({"Message": "{}", "SigningCertURL": url}))

    assert len(web.asked) <= FETCHES + 1


async def test_trouble_with_the_store_is_told_and_the_reports_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reporting(tmp_path, "postmark") as (reports, outbox, _):
        genuine = outbox.report

        async def full(*_: object) -> list[bool | Exception]:
            raise StorageUnavailable("full")

        monkeypatch.setattr(outbox, "report", full)
        with pytest.raises(StorageUnavailable):
            await take(reports, "postmark", hooks.request("postmark", "Delivery"))
        monkeypatch.setattr(outbox, "report", genuine)

        assert await take(reports, "postmark", hooks.request("postmark", "Delivery")) == 1


async def test_a_provider_without_a_key_or_without_reports_is_not_there(tmp_path: Path) -> None:
    async with reporting(tmp_path, "brevo") as (reports, _, _web):
        reports.provider("brevo").settings = Settings({})
        for name in ("brevo", "smtp", "sendgrid", ""):
            with pytest.raises(NotFound):
                await take(reports, name, hooks.request("brevo", "delivered"))


async def test_what_was_taken_in_is_worked_off_in_the_background_and_the_end_waits_for_it(tmp_path: Path) -> None:
    async with reporting(tmp_path, "brevo") as (reports, outbox, _):
        (mail_id,) = await store(outbox, addition(id=hooks.MAIL_ID, to=(hooks.mailbox(),)))
        await outbox.begin([beginning(mail_id, provider="brevo")])
        await outbox.settle([settlement(mail_id, provider="brevo")])
        reports.start()
        with reports._feed.listen(mail_id) as news:
            await take(reports, "brevo", hooks.request("brevo", "delivered"))
            item = await news.get()
        await reports.stop()

        assert item.data == {"status": "delivered"}


async def test_without_a_public_name_no_signature_can_be_about_it(tmp_path: Path) -> None:
    async with reporting(tmp_path, "mandrill") as (reports, _, _web):
        reports._public_url = None
        with pytest.raises(NotFound, match="MAILSVC_PUBLIC_URL"):
            await take(reports, "mandrill", hooks.request("mandrill", "delivered"))


async def test_an_error_of_our_own_is_logged_without_its_words_and_counted_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError(hooks.TO)

    monkeypatch.setattr("mailsvc.outbox.sqlite.inbox.merge", broken)
    async with reporting(tmp_path, "brevo") as (reports, outbox, _):
        await store(outbox, addition(id=hooks.MAIL_ID, to=(hooks.mailbox(),)))
        await take(reports, "brevo", hooks.request("brevo", "delivered"))
        began = reports._clock()
        with capture_logs() as logs:
            for passed in range(len(LOOK_AGAIN) + 1):
                monkeypatch.setattr(reports, "_clock", lambda passed=passed: began + 2 * 86_400 * passed)
                await reports.fold()

    assert [line["given_up"] for line in logs] == [*[False] * len(LOOK_AGAIN), True]
    assert (logs[0]["event"], logs[0]["error"], logs[0]["provider"]) == ("report_failed", "ValueError", "brevo")
    assert "in broken" in logs[0]["exception"]
    assert hooks.TO not in str(logs)
    assert reports._tally.given_up == {"brevo": 1}


@pytest.mark.parametrize(
    "said", ["0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "tomorrow", None]
)
def test_a_time_that_no_report_can_have_is_now(said: object) -> None:
    assert at_iso(said, hooks.NOW) == hooks.NOW
    assert at_iso("2023-01-02T03:04:05Z", hooks.NOW) == 1672628645
