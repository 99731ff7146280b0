"""The fault matrix: whatever a provider or the network does, a mail ends where it should, and its status is true."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.process import Mailsvc
from tests.e2e.test_main_path import live
from tests.e2e.truth import judged
from tests.fakes import Certificate, FakeProvider
from tests.fakes.proxy import FORTH, Proxy
from tests.fakes.raw import closed_port
from tests.fakes.smtp import MailSink

TIMEOUT = 1.5  # seconds; what is to be answered in time is answered at once
PAGE = "<html><body><h1>It works!</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, and what comes of one mail that says `hold`: the first attempt, the mail, who has taken it how often.

    `taken` counts the hand-overs to the first provider and to the second.
    """

    name: str
    set: Callable[[FakeProvider, Proxy], object]
    outcome: str
    status: str
    taken: tuple[int, int]
    words: str = ""


def answers(status: int, body: str | None = None) -> Callable[[FakeProvider, Proxy], object]:
    return lambda fake, proxy: fake.fault("answer", status=status, body=body)


def does(kind: str, **details: Any) -> Callable[[FakeProvider, Proxy], object]:
    return lambda fake, proxy: fake.fault(kind, **details)


def suffers(**toxic: Any) -> Callable[[FakeProvider, Proxy], object]:
    return lambda fake, proxy: proxy.poison(**toxic)


SENT, NEXT, DOUBT, TAKEN_DOUBT = ("sent", (1, 0)), ("sent", (0, 1)), ("uncertain", (0, 0)), ("uncertain", (1, 0))
NETWORK = [
    Row("latency", suffers(latency=0.1), "accepted", *SENT),
    Row("small pieces", suffers(slice=5), "accepted", *SENT),
    Row("slow close", suffers(slow_close=0.1), "accepted", *SENT),
    Row("little bandwidth, long enough", suffers(bandwidth=2000.0), "accepted", *SENT),
    Row("reset without an answer", suffers(after=0), "unanswered", *TAKEN_DOUBT, words="reset"),
    Row("reset in the head of the answer", suffers(after=20), "unanswered", *TAKEN_DOUBT),
    Row("end in the head of the answer", suffers(after=20, then="close"), "unanswered", *TAKEN_DOUBT, words="closed"),
    Row("silence in the head of the answer", suffers(after=20, then="hang"), "unanswered", *TAKEN_DOUBT, words="1.5 s"),
    Row("reset in the request", suffers(way=FORTH, after=300), "unanswered", *DOUBT),
    Row("silence in the request", suffers(way=FORTH, after=300, then="hang"), "unanswered", *DOUBT, words="1.5 s"),
    Row("an answer that drips", suffers(slice=1, pause=0.1), "unanswered", *TAKEN_DOUBT, words="1.5 s"),
    Row("a request that drips", suffers(way=FORTH, slice=1, pause=0.1), "unanswered", *DOUBT, words="1.5 s"),
]
PROVIDER = [
    Row("202, then cut", does("cut"), "accepted", *SENT),
    Row("202, then reset", does("cut", then="reset"), "accepted", *SENT),
    Row("202, then silence", does("cut", then="hang"), "accepted", *SENT),
    Row("202 with a huge body", does("huge"), "accepted", *SENT),
    Row("202 with a bomb", does("gzip"), "accepted", *SENT),
    Row("200 with a page", answers(200, PAGE), "unanswered", *TAKEN_DOUBT, words="It works!"),
    Row("201", answers(201, ""), "unanswered", *TAKEN_DOUBT),
    Row("204", answers(204, ""), "unanswered", *TAKEN_DOUBT),
    Row("not HTTP", does("garbage"), "unanswered", *DOUBT, words="not HTTP"),
    Row("a flood of headers", does("flood"), "unanswered", *TAKEN_DOUBT, words="not HTTP"),
    Row("408", answers(408), "unanswered", *DOUBT),
    Row("504", answers(504), "unanswered", *DOUBT),
    Row("silence", does("hang"), "unanswered", *DOUBT, words="no answer within 1.5 s"),
    Row("302", does("redirect"), "down", *NEXT, words="SENDGRID_URL"),
    Row("404 with a page", answers(404, PAGE), "down", *NEXT, words="SENDGRID_URL"),
    Row("500", answers(500), "down", *NEXT),
    Row("502 with a page", answers(502, PAGE), "down", *NEXT, words="502: It works!"),
    Row("503", answers(503), "down", *NEXT),
    Row("401", answers(401), "unauthorized", *NEXT),
    Row("400", answers(400), "refused", *NEXT),
    Row("400 in a megabyte", answers(400, '{"errors":[{"message":"%s"}]}' % ("no " * 300_000)), "down", *NEXT),
]


def first(fake: FakeProvider, other: FakeProvider, proxy: Proxy, name: str = "sendgrid") -> dict[str, str]:
    """One provider behind the proxy that is always asked first, and another. Faults do not change that."""
    settings = live(fake, other, MAILSVC_TIMEOUT=str(TIMEOUT), MAILSVC_SELECTOR="classic", MAILSVC_LOG="error")
    score, behind = {"sendgrid": ("100", "1"), "mandrill": ("1", "100")}[name], f"{name.upper()}_URL"
    return settings | {"SENDGRID_SCORE": score[0], "MANDRILL_SCORE": score[1], behind: proxy.url}


@pytest.mark.parametrize("rows", [NETWORK, PROVIDER], ids=["network", "provider"])
async def test_a_mail_ends_where_it_should_whatever_happens_to_its_request(tmp_path: Path, rows: list[Row]) -> None:
    found, said, took, ids = {}, {}, {}, []
    async with FakeProvider() as fake, FakeProvider() as other, Proxy(fake.port) as proxy:
        async with Mailsvc(tmp_path, **first(fake, other, proxy)) as service:
            for row in rows:
                await proxy.cut()
                row.set(fake, proxy)
                begun = time.monotonic()
                mail_id = await service.post(on_uncertain="hold")
                mail = await service.settled(mail_id)
                took[row.name] = time.monotonic() - begun
                fake.clear()
                proxy.toxics = []
                attempt = mail["attempts"][0]
                taken = fake.accepted(mail_id), other.accepted(mail_id)
                found[row.name] = (attempt["outcome"], mail["status"], taken)
                said[row.name] = attempt["detail"]
                ids.append(mail_id)
            findings = await judged(service, ids, fake, other, hold=ids)

    assert found == {row.name: (row.outcome, row.status, row.taken) for row in rows}
    assert {row.name: said[row.name] for row in rows if row.words not in said[row.name]} == {}
    assert {name: text for name, text in said.items() if len(text) > 1000} == {}
    assert {name: seconds for name, seconds in took.items() if seconds > TIMEOUT + 10} == {}
    assert findings.broken == ()
    assert fake.trapped == 0


def fates(**fate: object) -> str:
    return orjson.dumps([{"email": "ann@example.com", "status": "sent", "_id": "1"} | fate]).decode()


LIES = [
    Row(
        "rejected in a 200",
        answers(200, fates(status="rejected", reject_reason="hard-bounce")),
        "recipient_refused",
        "rejected",
        (0, 0),
    ),
    Row("invalid in a 200", answers(200, fates(status="invalid")), "recipient_refused", "rejected", (0, 0)),
    Row("unsigned in a 200", answers(200, fates(status="rejected", reject_reason="unsigned")), "sender_refused", *NEXT),
    Row("an error in a 200", answers(200, '{"status":"error","name":"ServiceUnavailable"}'), "down", *NEXT),
    Row("a wrong key as 500", answers(500, '{"status":"error","name":"Invalid_Key"}'), "unauthorized", *NEXT),
    Row("an empty list in a 200", answers(200, "[]"), "unanswered", *DOUBT),
    Row("a page in a 200", answers(200, PAGE), "unanswered", *DOUBT, words="It works!"),
    Row("a 200 that is cut", does("cut", accepted=True), "unanswered", *TAKEN_DOUBT, words="cut off"),
    Row("a 204", answers(204, ""), "unanswered", *DOUBT),
]


async def test_a_good_status_with_bad_news_inside_is_bad_news(tmp_path: Path) -> None:
    found = {}
    async with FakeProvider() as fake, FakeProvider() as other, Proxy(fake.port) as proxy:
        async with Mailsvc(tmp_path, **first(other, fake, proxy, "mandrill")) as service:
            for number, row in enumerate(LIES):
                await proxy.cut()
                row.set(fake, proxy)
                sender = f"shop@example{number}.com"  # a refused sender is not offered again
                mail_id = await service.post(on_uncertain="hold", **{"from": sender})
                mail = await service.settled(mail_id)
                fake.clear()
                words = mail["attempts"][0]["detail"]
                assert row.words in words, row.name
                # The ledger counts a 2xx as taken; what it says inside is this test's.
                taken = int(row.taken[0] and fake.accepted(mail_id)), other.accepted(mail_id)
                found[row.name] = (mail["attempts"][0]["outcome"], mail["status"], taken)

    assert found == {row.name: (row.outcome, row.status, row.taken) for row in LIES}


async def test_three_ways_not_to_get_through_are_three_failovers_in_one_go(tmp_path: Path) -> None:
    certificate = Certificate.make(tmp_path)
    async with FakeProvider(certificate=certificate) as untrusted, MailSink() as sink:
        settings = live(untrusted, MANDRILL_API_KEY="x", MANDRILL_URL="http://nowhere.invalid", RESEND_API_KEY="x")
        with closed_port() as held:
            settings |= {"RESEND_URL": f"http://127.0.0.1:{held.getsockname()[1]}"}
            async with Mailsvc(tmp_path, **settings, SMTP_URL=f"smtp://127.0.0.1:{sink.port}") as service:
                mail = await service.settled(await service.post())

    found = [(attempt["provider"], attempt["outcome"]) for attempt in mail["attempts"]]
    assert found == [("sendgrid", "down"), ("mandrill", "down"), ("resend", "down"), ("smtp", "accepted")]
    details = [attempt["detail"] for attempt in mail["attempts"]]
    assert "certificate not trusted" in details[0]
    assert details[1] == "name not found"
    assert "refused" in details[2]
    assert (mail["status"], len(sink.mails), untrusted.ledger) == ("sent", 1, [])


SHORT = 5.0  # seconds; a pause that is shorter may be over when it is looked at
LATE = 20.0  # seconds that may pass on a busy machine between the header and the look at it


def since(begun: str, until: str) -> float:
    """Seconds between two times of the API."""
    return (datetime.fromisoformat(until) - datetime.fromisoformat(begun)).total_seconds()


def header(wait: str | float | None) -> dict[str, str]:
    """Retry-After as it is; a number stands for the date in so many seconds."""
    if isinstance(wait, float):
        wait = format_datetime(datetime.now(UTC) + timedelta(seconds=wait), usegmt=True)
    return {"Retry-After": wait} if wait else {}


@pytest.mark.parametrize(
    ("waits", "pauses"),
    [
        ({"sendgrid": "17", "mandrill": 40.0, "resend": "1000000000"}, (17, 40, 3600)),
        ({"sendgrid": "-1", "mandrill": "soon", "resend": None}, (10, 10, 10)),
        ({"sendgrid": "99999999999999999999", "mandrill": -400.0, "resend": "2.5"}, (10, 1, 2.5)),
    ],
    ids=["sensible and too long", "nonsense and nothing", "endless, past and a fraction"],
)
async def test_a_provider_that_asks_for_a_pause_gets_it_within_reason(
    tmp_path: Path, waits: dict[str, str | float | None], pauses: tuple[float, ...]
) -> None:
    async with FakeProvider() as fake, MailSink() as sink:
        settings = live(fake, fake, RESEND_API_KEY="x", RESEND_URL=fake.url)
        settings |= {"SMTP_URL": f"smtp://127.0.0.1:{sink.port}"}
        async with Mailsvc(tmp_path, **settings) as service:
            for name, wait in waits.items():
                fake.fault("answer", provider=name, status=429, headers=header(wait))
            mail = await service.settled(await service.post())
            _, _, providers = await service.call("GET", "/providers")
            asked = len(fake.ledger)
            for _ in range(3):
                await service.settled(await service.post())

    assert [attempt["outcome"] for attempt in mail["attempts"]] == ["rate_limited"] * 3 + ["accepted"]
    assert [row["health"] for row in providers] == [1.0] * 4
    for row, attempt, pause in zip(providers, mail["attempts"], pauses, strict=False):
        if row["state"] == "open":
            assert pause < SHORT
        else:
            assert row["state"] == "closed"
            early = LATE if isinstance(waits[row["name"]], float) else 0  # a date comes nearer until it is read
            assert pause - early - 1 <= since(attempt["ended_at"], row["until"]) <= pause + 1
    assert (asked, len(sink.mails)) == (3, 4)
    assert len(fake.ledger) == asked or min(pauses) < SHORT


async def through(service: Mailsvc) -> None:
    await service.settled(await service.post())


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


async def test_huge_answers_and_bombs_cost_no_memory(tmp_path: Path) -> None:
    async with FakeProvider() as fake, FakeProvider() as other:
        settings = live(fake, other, MAILSVC_SELECTOR="classic", SENDGRID_SCORE="100", MANDRILL_SCORE="1")
        async with Mailsvc(tmp_path, **settings) as service:
            await asyncio.gather(*(through(service) for _ in range(10)))
            before = peak(service.process.pid)
            for kind in ("huge", "gzip", "flood"):
                fake.fault(kind, size=40 * 1024 * 1024)
                await asyncio.gather(*(through(service) for _ in range(3)))
                fake.clear()
            grown = peak(service.process.pid) - before

    assert len(fake.ledger) == 19
    assert grown < 8 * 1024 * 1024
