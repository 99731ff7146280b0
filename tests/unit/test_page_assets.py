"""The files of the page: third-party ones are what they were, URLs change with what they name, none is elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import pytest

from mailsvc.web.assets import ROOT, Assets

TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
OWN = sorted(path for path in (ROOT / "static").iterdir() if path.is_file())


@pytest.mark.parametrize("folder", ["static/vendor", "tests/e2e/vendor"])
def test_third_party_files_are_those_of_the_packages_named(folder: str) -> None:
    rows = re.findall(
        r"^\| `(.+?)` \| (\S+ [\d.]+) \| .*`([0-9a-f]{64})`", (ROOT / folder / "README.md").read_text(), re.MULTILINE
    )
    named = {name: digest for name, _, digest in rows}
    there = {
        path.relative_to(ROOT / folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in (".js", ".css")
    }

    assert there == named
    assert there
    assert all(list((ROOT / folder / name).parent.glob("LICENSE*")) for name in named)


def test_a_change_of_any_file_changes_all_urls(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    (tmp_path / "b.css").write_text("2")
    before = Assets(tmp_path)
    (tmp_path / "b.css").write_text("3")
    after = Assets(tmp_path)

    assert before.url("a.js") == f"/static/{before.version}/a.js"
    assert before.url("a.js") != after.url("a.js")
    assert Assets(tmp_path).version == after.version


def test_what_is_not_there_has_no_url_and_no_content(tmp_path: Path) -> None:
    (tmp_path / "secret.txt~").write_text("x")
    found = Assets(tmp_path)

    with pytest.raises(KeyError):
        found.url("a.js")
    assert [found.get(name) for name in ("a.js", "../assets.py", "/etc/passwd", "secret.txt~", "")] == [None] * 5


def test_a_file_is_served_compressed_where_that_helps(tmp_path: Path) -> None:
    (tmp_path / "long.css").write_text("a { b: c }\n" * 100)
    (tmp_path / "short.css").write_text("x")
    found = Assets(tmp_path)
    long, short = found.get("long.css"), found.get("short.css")

    assert long
    assert gzip.decompress(long.packed or b"") == long.body
    assert short
    assert short.packed is None
    assert long.kind == "text/css; charset=utf-8"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_have_no_inline_script_or_style_and_name_no_other_host(path: Path) -> None:
    text = path.read_text()
    inside_frame = path.name in ("words.html", "plain.html")  # they have the policy of mails

    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert inside_frame or not re.search(r"<style|\sstyle=", text)
    assert not re.search(r"\son[a-z]+=", text)
    assert not re.search(r"https?://(?!example\.com)", text)
    assert "|safe" not in text.replace(" ", "")
    assert "autoescape" not in text


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_own_files_name_no_other_host_and_evaluate_nothing(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")

    assert not re.search(r"https?://", text)
    assert not re.search(r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", text)
