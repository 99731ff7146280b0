"""Templates in a folder: which files make one, and every fault at once."""

import re
from pathlib import Path

from mailsvc.template import MAX_SUBJECT
from mailsvc.template_files import load


def lay(folder: Path, name: str, **files: str) -> None:
    endings = {"subject": "txt", "content": "md", "html": "html", "text": "txt"}
    (folder / name).mkdir()
    for part, text in files.items():
        (folder / name / f"{part}.{endings[part]}").write_text(text)


def test_a_folder_is_a_template_and_each_file_a_part(tmp_path: Path) -> None:
    lay(tmp_path, "welcome", subject="Hi {{ name }}\n", content="**Hello**\n")
    lay(tmp_path, "receipt", subject="Receipt", html="<b>", text="b")
    lay(tmp_path, ".git", subject="x")
    (tmp_path / "README.md").write_text("what these are")
    (tmp_path / "welcome" / "notes").write_text("not a part")

    (receipt, welcome), faults = load(tmp_path)

    assert not faults
    assert (welcome.name, welcome.parts, welcome.version) == (
        "welcome",
        {"subject": "Hi {{ name }}", "content": "**Hello**\n"},
        None,
    )
    assert receipt.parts == {"subject": "Receipt", "html": "<b>", "text": "b"}


def test_every_fault_is_told(tmp_path: Path) -> None:
    lay(tmp_path, "a", content="x")
    lay(tmp_path, "b", subject="x")
    lay(tmp_path, "c", subject="x", content="x", html="x")
    lay(tmp_path, "d", subject="x" * (MAX_SUBJECT + 1), text="x")
    lay(tmp_path, "e", subject="x", text="")
    lay(tmp_path, "no name", subject="x", text="x")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "subject.txt").write_bytes(b"\xff")

    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "html.htm").write_text("<b>")

    found, faults = load(tmp_path)

    assert not found
    told = "\n".join(faults)
    for words in (
        "a: subject.txt is missing",
        "b: content.md is missing",
        "c: content.md excludes",
        "d: subject.txt must",
    ):
        assert words in told
    for words in (
        "e: text.txt must",
        "no name cannot be the name",
        "f/subject.txt cannot be read",
        "f: subject.txt is",
        "g/html.htm must have the name html.html",
    ):
        assert words in told


def test_a_folder_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    found, faults = load(tmp_path / "none")

    assert not found
    assert re.fullmatch(r"MAILSVC_TEMPLATES: .* cannot be read: .*", *faults)


def test_a_mark_of_the_byte_order_is_no_part_of_a_text(tmp_path: Path) -> None:
    lay(tmp_path, "welcome", subject="\ufeffHi", text="\ufeffHello")

    ((welcome,), _) = load(tmp_path)

    assert welcome.parts == {"subject": "Hi", "text": "Hello"}
