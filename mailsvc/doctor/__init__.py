"""The doctor: looks at everything that mailsvc needs, changes nothing, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from . import callbacks, certificate, clock, database, network, settings, templates
from .base import Finding, Level

OK, FAILED, BAD_CONFIG = 0, 1, 78  # exit codes


async def examine(environ: Mapping[str, str], *, offline: bool = False) -> list[Finding]:
    """All there is to say, the settings first. With a configuration that cannot be used only that is known."""
    config, found = settings.check(environ)
    if config is None:
        return [*found, clock.check(None)]
    seen, about_database = await database.check(config.database_url)
    found += [*about_database, clock.check(seen), *await callbacks.check(config, seen, offline=offline)]
    found += [*certificate.check(config), *await templates.check(config)]
    found += await network.check(config, offline=offline)
    return found + await network.port(config)


def exit_code(found: Sequence[Finding]) -> int:
    """78 if it would not start, 1 if something else fails, 0 if nothing does."""
    levels = {finding.level for finding in found}
    return BAD_CONFIG if Level.CONFIG in levels else FAILED if Level.FAIL in levels else OK


def report(found: Sequence[Finding], *, as_json: bool) -> str:
    """One line each."""
    if as_json:
        rows = [{"level": f.level.word, "subject": f.subject, "found": f.found, "fix": f.fix} for f in found]
        return json.dumps({"exit_code": exit_code(found), "findings": rows}, indent=2, ensure_ascii=False)
    width = max(len(finding.subject) for finding in found)
    lines = [f"{f.level.word:4}  {f.subject:{width}}  {f.found}{f' -> {f.fix}' if f.fix else ''}" for f in found]
    bad = sum(finding.level.word == "fail" for finding in found)
    doubtful = sum(finding.level is Level.WARN for finding in found)
    return "\n".join([*lines, f"{bad} to mend, {doubtful} to think about" if bad or doubtful else "all is well"])
