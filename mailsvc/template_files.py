"""Templates in a folder: one folder for each, named as it, with a file for each part."""

from __future__ import annotations

from pathlib import Path

from .template import MAX_PART, MAX_SUBJECT, NAME, Template

FILES = {"subject": "subject.txt", "content": "content.md", "html": "html.html", "text": "text.txt"}


def load(folder: Path) -> tuple[list[Template], list[str]]:
    """The templates of a folder, in the order of their names, and the faults of those that are none."""
    faults: list[str] = []
    found: list[Template] = []
    try:
        inner = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as error:
        return [], [f"MAILSVC_TEMPLATES: {folder} cannot be read: {error.strerror}"]
    for each in inner:
        parts = _parts(each, faults)
        if not NAME.fullmatch(each.name):
            faults.append(f"MAILSVC_TEMPLATES: {each} cannot be the name of a template")
        elif fault := faulty(parts):
            faults.append(f"MAILSVC_TEMPLATES: {each}: {fault}")
        else:
            found.append(Template.of(each.name, parts))
    return found, faults


def faulty(parts: dict[str, str]) -> str | None:
    """What is wrong with the parts of a template as such."""
    if "subject" not in parts:
        return f"{FILES['subject']} is missing"
    if not parts.keys() - {"subject"}:
        return f"{FILES['content']} is missing, or {FILES['html']}, or {FILES['text']}"
    if "content" in parts and parts.keys() & {"html", "text"}:
        return f"{FILES['content']} excludes {FILES['html']} and {FILES['text']}"
    for part, text in parts.items():
        most = MAX_SUBJECT if part == "subject" else MAX_PART
        if not 0 < len(text) <= most or "\x00" in text:
            return f"{FILES[part]} must be 1 to {most} characters"
    return None


def _parts(folder: Path, faults: list[str]) -> dict[str, str]:
    parts = {}
    faults += [
        f"MAILSVC_TEMPLATES: {path} must have the name {FILES[path.stem]}"
        for path in sorted(folder.iterdir())
        if path.stem in FILES and path.name not in (FILES[path.stem], path.stem)
    ]
    for part, name in FILES.items():
        path = folder / name
        if path.is_file():
            try:
                parts[part] = path.read_text(encoding="utf-8-sig")
            except (OSError, ValueError) as error:
                faults.append(f"MAILSVC_TEMPLATES: {path} cannot be read: {error}")
    if "subject" in parts:
        parts["subject"] = parts["subject"].strip()
    return parts
