"""The official JavaScript SDKs against the real process: only their base URL and their key are changed."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from tests.e2e.process import Mailsvc, environment
from tests.e2e.reader import JAVASCRIPT, needs_javascript
from tests.e2e.test_keys import FIRST, bearer

SDKS = JAVASCRIPT / "sdks.mjs"


@needs_javascript
async def test_the_official_javascript_sdks_send_and_say_what_is_wrong_as_ever(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=FIRST, MAILSVC_CAPTURE="1") as service:
        process = await asyncio.create_subprocess_exec(
            *("node", str(SDKS)),
            env=environment(MAILSVC_URL=service.url, MAILSVC_API_KEY=FIRST, PATH=os.environ["PATH"]),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 50)
        assert process.returncode == 0, err.decode()
        came = json.loads(out)
        _, _, listed = await service.call("GET", "/email?limit=100", headers=bearer(FIRST))
        named = [came["resend"]["data"]["id"], came["sendgrid"]["id"], came["postmark"]["MessageID"]]
        mails = [await settled(service, mail_id) for mail_id in named]

    assert all(mail["status"] == "sent" for mail in mails)
    assert [mail["metadata"] for mail in mails] == [{"order": "42"}] * 3
    assert len(listed["data"]) == 1 + 2 + 1 + 1 + 2 + 1 + 1  # and nothing of what was refused

    assert came["resend again"]["data"] == came["resend"]["data"]
    assert came["resend look"]["data"]["id"] == came["resend"]["data"]["id"]
    assert len(came["resend batch"]["data"]["data"]) == 2
    assert came["resend later"]["error"] is None
    assert (came["resend faulty"]["data"], came["resend faulty"]["error"]["name"]) == (None, "validation_error")
    assert came["resend too late"]["error"]["message"] == "scheduled_at: must be within a year from now"
    assert came["resend key"]["error"]["name"] == "invalid_api_key"

    assert (came["sendgrid"]["status"], came["sendgrid many"]["status"]) == (202, 202)
    assert came["sendgrid faulty"]["code"] == 400
    assert "personalizations" in came["sendgrid faulty"]["body"]["errors"][0]["field"]

    assert (came["postmark"]["ErrorCode"], came["postmark"]["Message"]) == (0, "OK")
    assert [each["ErrorCode"] for each in came["postmark batch"]] == [0, 300]
    assert came["postmark faulty"]["raised"] == "InvalidEmailRequestError"
    assert (came["postmark faulty"]["status"], came["postmark faulty"]["code"]) == (422, 300)
    assert (came["postmark key"]["raised"], came["postmark key"]["status"]) == ("InvalidAPIKeyError", 401)


async def settled(service: Mailsvc, mail_id: str) -> dict[str, object]:
    """A mail once it has left the queue."""
    _, _, mail = await service.call("GET", f"/email/{mail_id}?wait=settled&timeout=30", headers=bearer(FIRST))
    return dict(mail)
