"""`mailsvc send --provider`: one mail through one provider, without a server."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.e2e.process import run
from tests.e2e.test_providers import environment
from tests.fakes import FakeProvider
from tests.fakes.smtp import MailSink


async def test_a_mail_that_is_taken_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "größe.csv"
    await asyncio.to_thread(file.write_text, "a;b\n" * 1000)
    arguments = ["send", "Ann Ünder <ann@example.org>", "--provider", "postmark", "--attach", str(file), "--json"]
    async with FakeProvider() as fake:
        code, out, err = await run(tmp_path, *arguments, **environment("postmark", fake))

    assert code == 0, out + err
    told, (entry,) = json.loads(out), fake.ledger
    assert (told["outcome"], told["mail_id"], told["request_bytes"]) == ("accepted", entry.mail_id, entry.bytes_read)
    assert entry.bytes_read > 4000
    assert os.listdir(tmp_path) == [file.name]


async def test_a_mail_that_a_server_takes_is_told_in_words(tmp_path: Path) -> None:
    arguments = ["send", "ann@example.org", "--to", "bob@example.net", "--provider", "smtp", "--text", "Hällo"]
    async with MailSink() as sink:
        settings = {"SMTP_URL": f"smtp://127.0.0.1:{sink.port}", "MAILSVC_FROM": "a@example.com"}
        code, out, err = await run(tmp_path, *arguments, **settings)

    assert code == 0, err
    assert sink.mails[0].recipients == ("ann@example.org", "bob@example.net")
    assert "Hällo" in sink.mails[0].parsed().get_content()
    assert out.startswith("accepted by smtp in ")
    assert "its id    SINK1" in out
    assert f"{len(sink.mails[0].content):,} bytes to 127.0.0.1:{sink.port}" in out


async def test_a_wrong_key_is_told_with_what_to_check(tmp_path: Path) -> None:
    async with FakeProvider(keys={"sendgrid": "another"}) as fake:
        code, out, _ = await run(
            tmp_path, "send", "ann@example.org", "--provider", "sendgrid", **environment("sendgrid", fake)
        )

    assert code == 1
    assert "check SENDGRID_API_KEY, SENDGRID_URL" in out
    assert "https://api.eu.sendgrid.com" in out


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        (["a@b.example", "--provider", "nobody"], {}, "nobody is no provider; there are sendgrid, mandrill"),
        (["a@b.example", "--provider", "capture"], {}, "capture is no provider"),
        (["a@b.example", "--provider", "ses"], {}, "set SES_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"),
        (["a@b.example", "--provider", "resend"], {"MAILSVC_CAPTURE": "true"}, "MAILSVC_CAPTURE is on"),
        (["no address", "--provider", "resend"], {"RESEND_API_KEY": "k" * 20}, "to"),
    ],
)
async def test_what_cannot_be_tried_is_told_and_nothing_is_sent(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], words: str
) -> None:
    code, out, err = await run(tmp_path, "send", *arguments, MAILSVC_FROM="a@example.com", **settings)

    assert (code, out) == (1, "")
    assert words in err
