"""What platforms read: the Procfile, run for real, and the files beside it."""

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

import aiohttp

from mailsvc.config import Config
from tests.e2e.process import FORM, ROOT, environment


async def test_the_procfile_serves_and_ends_in_peace_when_the_platform_says_so(tmp_path: Path) -> None:
    settings = environment(PORT="0", MAILSVC_API_KEY="k" * 32, MAILSVC_CAPTURE="1", PYTHONUNBUFFERED="1")
    settings["DATABASE_URL"] = f"sqlite:///{tmp_path}/mail.db"
    settings["PATH"] = f"{Path(sys.executable).parent}:{settings['PATH']}"
    honcho = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "honcho", "-d", str(ROOT), "-e", "none", "start", "--no-prefix", "web",
        env=settings, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert honcho.stdout is not None
    said: list[str] = []
    while not (found := re.search(r"serving at http://[^:]+:(\d+)", "".join(said))):
        said.append((await honcho.stdout.readline()).decode())
    headers = {"Authorization": "Bearer " + "k" * 32}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(f"http://127.0.0.1:{found[1]}/email", json=FORM) as answer:
            status = answer.status
    honcho.send_signal(signal.SIGTERM)
    said.append((await honcho.stdout.read()).decode())
    await honcho.wait()

    assert status == 202
    assert '"event":"stopped"' in "".join(said)


def test_the_button_starts_a_sandbox_that_strangers_cannot_use() -> None:
    described = json.loads((ROOT / "app.json").read_text())
    settings = {name: value["value"] for name, value in described["env"].items() if "value" in value}

    config = Config.from_environ(settings | {"MAILSVC_API_KEY": "generated-by-heroku", "DYNO": "web.1", "PORT": "5000"})

    assert described["env"]["MAILSVC_API_KEY"]["generator"] == "secret"
    assert (config.host, config.live) == ("0.0.0.0", False)


def test_the_platform_finds_one_python_version_and_locked_requirements_with_hashes() -> None:
    requirements = (ROOT / "requirements.txt").read_text()
    pins = re.findall(r"^[a-z0-9._-]+(?:\[[a-z,]+\])?==", requirements, re.MULTILINE)

    assert re.fullmatch(r"3\.\d+", (ROOT / ".python-version").read_text().strip())
    assert not (ROOT / "runtime.txt").exists()
    assert len(pins) > 20
    assert requirements.count("--hash=sha256:") >= len(pins)
