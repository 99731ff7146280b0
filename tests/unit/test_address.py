"""Mailboxes: what is one address, and what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc.address import (
    AddressError,
    Mailbox,
    control_character,
    parse_address,
    parse_mailbox,
    parse_name,
    split_mailboxes,
)


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("a@b.co", "a@b.co", ""),
        (" a@b.co ", "a@b.co", ""),
        ("Ann Lee <ann@example.com>", "ann@example.com", "Ann Lee"),
        ('"Lee, Ann" <ann@example.com>', "ann@example.com", "Lee, Ann"),
        ("Lee, Ann <ann@example.com>", "ann@example.com", "Lee, Ann"),
        ('"say \\"hi\\"" <ann@example.com>', "ann@example.com", 'say "hi"'),
        ("Zoë Tö <zoe@example.com>", "zoe@example.com", "Zoë Tö"),
        ("=?utf-8?q?a=0D=0ABcc:_x?= <a@b.co>", "a@b.co", "=?utf-8?q?a=0D=0ABcc:_x?="),
        ("o'brien+tag@sub.example.co.uk", "o'brien+tag@sub.example.co.uk", ""),
        ("user@bücher.test", "user@xn--bcher-kva.test", ""),
        ("a@x.test", "a@x.test", ""),
        ("e\u0301 <a@b.co>", "a@b.co", "\u00e9"),
    ],
)
def test_one_mailbox_is_read(text: str, address: str, name: str) -> None:
    if ":" in name:  # an unquoted colon is how a group of addresses begins
        with pytest.raises(AddressError):
            parse_mailbox(text)
        return

    assert parse_mailbox(text) == Mailbox(address, name)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a@x.test,b@y.test", "several_addresses"),
        ("a@x.test;b@y.test", "several_addresses"),
        ("a@x.test <b@y.test>", "several_addresses"),
        ("group:a@x,b@y;", "several_addresses"),
        ("group: <a@x.test>", "several_addresses"),
        ("<a@x>", "invalid_address"),
        ("<a@x.test>", "invalid_address"),
        ("a <a@x.test> b", "invalid_address"),
        ("a b@x.test", "invalid_address"),
        ("@x.test", "invalid_address"),
        ("a@x..test", "invalid_address"),
        ("a@", "invalid_address"),
        ("", "invalid_address"),
        ("ann", "invalid_address"),
        ("a@b@c.test", "invalid_address"),
        ("a\x00@x.test", "control_character"),
        ("a@x.test\n", "control_character"),
        ("Ann\r\nBcc: b <a@x.test>", "control_character"),
        ("Ann\u2028 <a@x.test>", "control_character"),
        ("l" * 65 + "@x.test", "invalid_address"),
        ("a@" + "d" * 250 + ".test", "invalid_address"),
        ('"a b"@x.test', "invalid_address"),
        ("a(comment)@x.test", "invalid_address"),
        ("üser@x.test", "smtputf8_unsupported"),
        ("a@[127.0.0.1]", "invalid_address"),
        ("a@localhost", "invalid_address"),
        ("a@127.0.0.1", "invalid_address"),
        ("a@-x.test", "invalid_address"),
        ("N" * 256 + " <a@x.test>", "too_long"),
    ],
)
def test_what_is_not_one_usable_address_is_refused_with_a_code(text: str, code: str) -> None:
    with pytest.raises(AddressError) as raised:
        parse_mailbox(text)

    assert raised.value.code == code


@given(st.text(max_size=60))
def test_any_text_is_a_mailbox_of_safe_parts_or_an_address_error(text: str) -> None:
    try:
        box = parse_mailbox(text)
    except AddressError:
        return

    assert box.address.isascii()
    assert box.address.count("@") == 1
    assert control_character(box.name + box.address) is None
    assert parse_address(box.address) == box.address


@pytest.mark.parametrize("character", ["\r", "\n", "\x00", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\u2028", "\u2029"])
def test_a_name_with_a_line_break_of_any_kind_is_refused(character: str) -> None:
    with pytest.raises(AddressError):
        parse_name(f"a{character}b")


def test_a_mailbox_is_written_with_quotes_where_the_standard_asks_for_them() -> None:
    assert str(Mailbox("a@b.co")) == "a@b.co"
    assert str(Mailbox("a@b.co", "Ann Lee")) == "Ann Lee <a@b.co>"
    assert str(Mailbox("a@b.co", "Lee, Ann")) == '"Lee, Ann" <a@b.co>'
    assert str(Mailbox("a@b.co", 'a "b" \\')) == '"a \\"b\\" \\\\" <a@b.co>'
    assert parse_mailbox(str(Mailbox("a@b.co", 'a "b" \\'))) == Mailbox("a@b.co", 'a "b" \\')


def test_a_text_of_any_length_is_looked_at_in_a_moment() -> None:
    for text in ("a" + " " * 1_000_000 + "<x", '"' + "\\" * 1_000_000 + "<x"):
        with pytest.raises(AddressError) as error:
            parse_mailbox(text)
        assert error.value.code == "too_long"


def test_mailboxes_are_parted_at_commas_outside_of_quotes() -> None:
    text = 'Ann <a@b.co>, "Lee, \\"B\\", C" <b@b.co>,, c@b.co ,"x, y'

    assert split_mailboxes(text) == ["Ann <a@b.co>", '"Lee, \\"B\\", C" <b@b.co>', "c@b.co", '"x, y']
    assert split_mailboxes('"\\' * 500_000)
