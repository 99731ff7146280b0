"""Where a rehearsal may run, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.process import Mailsvc, run


async def test_a_rehearsal_is_refused_where_mail_could_leave(tmp_path: Path) -> None:
    settings = {"SENDGRID_API_KEY": "SG.secret", "MAILSVC_FROM": "shop@example.com"}
    code, _, errors = await run(tmp_path, "serve", "--demo", **settings)

    assert code == 78
    assert "a rehearsal is for the sandbox, but a provider is configured: sendgrid" in errors
    assert "SG.secret" not in errors


async def test_without_a_rehearsal_there_are_no_knobs(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        found = [(await service.call(*each))[0] for each in (("GET", "/rehearsal"), ("POST", "/rehearsal/stream"))]
        _, _, page = await service.call("GET", "/")

    assert found == [404, 404]
    assert "Start the stream" not in page
