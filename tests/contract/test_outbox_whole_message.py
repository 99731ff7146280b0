"""Everything that a mail can carry comes back as it was given, and goes with the rest when it is erased."""

from typing import Any

from mailsvc.address import Mailbox
from mailsvc.model import Attachment, Status
from tests.contract.samples import NOW, OpenStore, addition, beginning, settlement

PIXEL = bytes(range(256)) * 40
WHOLE: dict[str, Any] = {
    "cc": (Mailbox("copy@example.com", "Tö, Copy"), Mailbox("second@example.com")),
    "bcc": (Mailbox("unseen@example.com"),),
    "reply_to": (Mailbox("answers@example.com", "Answers"),),
    "headers": {"X-Order": "10 € \x07", "List-Unsubscribe": "<mailto:a@example.com>"},
    "tags": ("receipt", "größe"),
    "metadata": {"order": "1042", "note": "a\u2028b"},
    "attachments": (
        Attachment("größe.pdf", "application/pdf", None, 3, b"\x00\x01\x02"),
        Attachment("logo.png", "image/png", "logo@x", len(PIXEL), PIXEL),
    ),
}


async def test_a_whole_mail_comes_back_as_it_was_given_with_its_files_apart(open_store: OpenStore) -> None:
    given = addition(**WHOLE)
    async with open_store() as outbox:
        await outbox.add([given, addition()])

        kept = await outbox.mail(given.mail.id)
        claimed, plain = await outbox.claim(2, NOW, 60)
        files = await outbox.attachments(given.mail.id)

    assert kept == claimed
    for name, value in WHOLE.items():
        if name != "attachments":
            assert getattr(claimed, name) == value
    assert [(each.filename, each.size, each.content) for each in claimed.attachments] == [
        ("größe.pdf", 3, b""),
        ("logo.png", len(PIXEL), b""),
    ]
    assert tuple(files) == WHOLE["attachments"]
    assert (plain.cc, plain.headers, plain.tags, plain.metadata, plain.attachments) == ((), {}, (), {}, ())


async def test_the_record_tells_every_recipient_by_role_and_the_labels(open_store: OpenStore) -> None:
    given = addition(**WHOLE)
    async with open_store() as outbox:
        await outbox.add([given])
        record = await outbox.get(given.mail.id)

    assert record is not None
    assert [each.role for each in record.recipients] == ["to", "cc", "cc", "bcc"]
    assert (record.tags, record.metadata) == (WHOLE["tags"], WHOLE["metadata"])


async def test_a_recipient_with_a_fate_of_its_own_is_left_out_of_copies_too(open_store: OpenStore) -> None:
    given = addition(**WHOLE)
    async with open_store() as outbox:
        await outbox.add([given])
        await outbox.claim(1, NOW, 60)
        await outbox.begin([beginning(given.mail.id)])
        rejected = {"second@example.com": Status.REJECTED}
        await outbox.settle(
            [settlement(given.mail.id, status=Status.QUEUED, due_at=NOW, rounds=1, recipients=rejected)]
        )
        (again,) = await outbox.claim(1, NOW + 100, 60)

    assert [each.address for each in again.cc] == ["copy@example.com"]


async def test_files_are_erased_with_the_texts_and_metadata_with_the_person(open_store: OpenStore) -> None:
    given = addition(**WHOLE)
    async with open_store() as outbox:
        await outbox.add([given])
        await outbox.claim(1, NOW, 60)
        await outbox.begin([beginning(given.mail.id)])
        await outbox.settle([settlement(given.mail.id)])
        await outbox.erase("unseen@example.com", NOW + 5)

        record, kept = await outbox.get(given.mail.id), await outbox.mail(given.mail.id)
        files = await outbox.attachments(given.mail.id)

    assert record is not None
    assert kept is not None
    assert record.metadata == {}
    assert (kept.headers, kept.reply_to, kept.attachments, tuple(files)) == ({}, (), (), ())
    assert "unseen@example.com" not in str(record)


async def test_there_are_no_files_of_an_unknown_mail(open_store: OpenStore) -> None:
    async with open_store() as outbox:
        assert list(await outbox.attachments("nonsense")) == []
