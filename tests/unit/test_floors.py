"""The house has floors: a file imports lower floors only, and siblings in a folder import `base`, never each other."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mailsvc"
FLOORS = [
    {
        "__init__",
        "errors",
        "address",
        "model",
        "access",
        "client",
        "limits",
        "clock",
        "sigv4",
        "process",
        "callback",
        "suppression",
        "template",
    },
    {
        "selector",
        "standing",
        "backoff",
        "label",
        "mime",
        "render",
        "batcher",
        "submission",
        "field",
        "wire",
        "letter",
        "attachment",
        "ability",
        "instant",
        "plan",
        "schedule",
        "lanes",
        "feed",
        "setting",
        "tally",
        "history",
        "merge",
        "lookup",
        "reputation",
        "council",
        "guard",
        "hook",
        "sns",
        "dialect",
        "sandbox",
        "template_files",
        "addition",
        "attempt",
        "listing",
        "moves",
        "hours",
    },
    {"outbox", "providers", "simulate", "resolver", "templating"},
    {
        "fetch",
        "config",
        "outcome",
        "journal",
        "news",
        "choice",
        "files",
        "decision",
        "keys",
        "metrics",
        "accord",
        "neighbours",
        "callbacks",
        "templates",
    },
    {"delivery", "rehearsal", "watch", "callback_drain", "reports", "webhooks"},
    {"drain"},
    {"acceptance", "mails"},
    {"service"},
    {"assembly"},
    {"web"},
    {"smtpd"},
    {"serve", "remote", "logs", "crashtest", "doctor"},
    {"command", "backup", "trial", "supervisor", "stream"},
    {"cli", "cli_keys", "cli_ops", "cli_callbacks", "cli_send", "cli_mails", "cli_suppressions", "cli_templates"},
    {"__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
FREE_FOLDERS = {"web", "simulate", "crashtest"}  # their files may import each other, below __init__


def imports(source: str, module: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The modules of this package that `module` imports, as paths below the package."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            stem = list(module[: len(module) - node.level]) if node.level else (node.module or "").split(".")[1:]
            if not node.level and (node.module or "").split(".")[0] != "mailsvc":
                continue
            if node.level and node.module:
                stem += node.module.split(".")
            found |= {tuple(stem)} if stem else {(alias.name,) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")[1:]) for alias in node.names if alias.name.startswith("mailsvc.")}
    return found


def violations(source: str, module: tuple[str, ...]) -> list[str]:
    """Each import of `module` that goes up or sideways."""
    wrong = []
    for target in imports(source, module):
        mine, theirs = FLOOR[module[0]], FLOOR.get(target[0])
        if target[0] == "__version__":
            continue
        if theirs is None:
            wrong.append(f"{'.'.join(module)} imports {'.'.join(target)}, which is on no floor")
        elif target[0] == module[0] and len(module) > 1:
            sideways = len(target) > 1 and target[1] not in ("base", module[1]) and module[1] != "__init__"
            if sideways and module[0] not in FREE_FOLDERS:
                wrong.append(f"{'.'.join(module)} imports its sibling {'.'.join(target)}")
        elif theirs > mine or (theirs == mine and theirs not in (0, 1)):
            wrong.append(f"{'.'.join(module)} imports upwards or sideways: {'.'.join(target)}")
    return wrong


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_lower_floors_only(path: Path) -> None:
    module = path.relative_to(PACKAGE).with_suffix("").parts

    assert violations(path.read_text(), module) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (("selector",), "from .outbox import open_outbox"),
        (("outbox", "sqlite"), "from ..drain import Drain"),
        (("outbox", "sqlite"), "from .postgres import PostgresOutbox"),
        (("providers", "smtp"), "from .. import service"),
        (("model",), "import mailsvc.web.base"),
        (("model",), "from mailsvc.cli import main"),
    ],
)
def test_a_planted_import_is_caught(module: tuple[str, ...], source: str) -> None:
    assert len(violations(source, module)) == 1
