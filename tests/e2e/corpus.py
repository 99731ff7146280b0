"""More than 500 hostile requests, each of which must be refused with a 4xx. What was found to break something stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from tests.e2e.process import FORM

UNKNOWN = "01a20c4f-9f14-7ca9-806c-59d8f7b56a5f"
JSON = {"Content-Type": "application/json"}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
PARTS = {"Content-Type": "multipart/form-data; boundary=x"}


@dataclass(frozen=True)
class Case:
    """A request: `path` as it goes over the line."""

    name: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


def mail(name: str, **fields: object) -> Case:
    """A mail with some fields of its own; the characters go as JSON escapes, so that nothing here is invalid UTF-8."""
    return Case(name, "POST", "/email", JSON, json.dumps(FORM | fields).encode())


def body(name: str, data: bytes, headers: dict[str, str] | None = None, path: str = "/email") -> Case:
    return Case(name, "POST", path, JSON if headers is None else headers, data)


# Tables, with several values in a line:
# fmt: off
ADDRESSES = (
    "", " ", "@", "a", "a@", "@b.co", "a@b", "a@@b.co", "a@b@c.co", "a b@c.co", "a@b c.co", "a@b.co c", "a@.co",
    "a@b.", "a@b..co", "a..b@c.co", ".a@b.co", "a.@b.co", "a@-b.co", "a@b-.co", "a@b_c.co", "a@1.2.3.4",
    "a@[1.2.3.4]", "a@[::1]", "a@[IPv6:::1]", "a@localhost", "a@b.1", "a,b@c.co", "a@b.co,c@d.co", "a@b.co;c@d.co",
    "a@b.co <c@d.co>", "<a@b.co", "a@b.co>", "<>", "<a@b>", "A <a@b>", "A <a@b.co", "A a@b.co>", "A <a@b.co> B",
    "A <a@b.co><c@d.co>", "group:a@b.co;", '"a b"@c.co', '"a"@b.co', "a@b.co(c)", "(c)a@b.co", "a\\@b@c.co", "é@b.co",
    "a@" + "b" * 64 + ".co", "a" * 65 + "@b.co", "a@" + "b.c" * 90 + ".co", "a@b.co\x00", "a\n@b.co",
    "a@b.co\r\nBcc: c@d.co", "a@b.co%0d%0aBcc:c@d.co", "mailto:a@b.co", "http://a@b.co", "a@b.co?x=y", "a@b.co/",
    "a@\u202eb.co", "a@b\u3002\u3002co", "a@b.co\u2028", "\ufeff@b.co", "😀@b.co", "a@😀", "undefined", "null",
    "[object Object]", "{{a}}@b.co{{", "a@b.co'--", "${jndi:ldap://x}@", "../../etc/passwd",
)
CONTROL = [chr(number) for number in (*range(32), *range(127, 160), 0x2028, 0x2029)]
WRONG_TYPES: tuple[object, ...] = (5, -1.5, True, False, [], {}, [[]], [{}], {"a": "b"}, [5], [None], 10**18)
TEXT_FIELDS = ("to", "to_name", "subject", "content", "html", "text", "from", "on_uncertain")
UNKNOWN_FIELDS = (
    "id", "status", "provider", "owner", "created_at", "due_at", "attempts", "sender", "To", "TO", "to ", " to",
    "to[]", "to.0", "__proto__", "constructor", "__class__", "toString", "", "é", "\x00", "bcc\r\nx", "$where",
    "to\u200b", "_id", "a" * 10_000,
)
SYNTAX = (
    b"", b" ", b"{", b"}", b"[", b"]", b"{]", b'{"', b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,}', b"{,}", b"[1,]",
    b"{a:1}", b"{'a':1}", b'{"a":01}', b'{"a":.5}', b'{"a":1.}', b'{"a":+1}', b'{"a":0x1}', b'{"a":NaN}',
    b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1e}', b'{"a":tru}', b'{"a":undefined}', b'{"a":"\\x"}',
    b'{"a":"\\u12"}', b'{"a":"\t"}', b'{"a":"\n"}', b'{"a":"\x00"}', b'{"a":1}{"b":2}', b'{"a":1}x', b"//\n{}",
    b"/**/{}", b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"\x00", b"\xff", b'{"a":"\xc0\x80"}',
    b'{"a":"\xed\xa0\x80"}', b'{"a":"\\ud800"}', b'{"a":"\\udc00\\ud800"}', b"[" * 5000, b'{"a":' * 5000,
    b'"' + b"\\" * 5001, b"9" * 6000, b"1e999", b"nul", b"'", b"<a/>", b"a=b", b"--x", b"\x1f\x8b\x08", b"PK\x03\x04",
    b"%7B%7D", b"null", b"true", b"5", b'"x"', b"[]", b"[{}]", b"{}",
)
TYPES = (
    "text/plain", "text/html", "text/json", "application/xml", "application/octet-stream",
    "application/json; charset=utf-16", "application/json;charset=latin-1", "application/jsonx",
    "application/ld+json", "json", "*/*", "application/", "/json", ";", "x" * 5000, "application/json, text/plain",
    "multipart/mixed; boundary=x", "multipart/form-data", "multipart/form-data; boundary=",
    'multipart/form-data; boundary="', "multipart/form-data; boundary=y",
    "multipart/form-data; boundary=" + "b" * 200, "application/x-www-form-urlencoded-x", "image/svg+xml",
    "message/rfc822", "application/json; charset*=utf-8''x",
)
DISPOSITION = b'--x\r\nContent-Disposition: form-data; name="to"'
MULTIPART = (
    b"", b"--x", b"--x--", b"--x\r\n", b"--x\r\n\r\n--x--", DISPOSITION, DISPOSITION + b"\r\n\r\na@b.co",
    b"y" * 10_000, DISPOSITION + b'; filename="a"\r\n\r\na@b.co\r\n--x--\r\n',
    DISPOSITION + b"\r\n\r\n\xff\xfe\r\n--x--\r\n", b"--x\r\n\r\na@b.co\r\n--x--\r\n",
    b"--x\r\nContent-Disposition: attachment\r\n\r\na\r\n--x--\r\n",
    b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", b"--x\r\nno colon\r\n\r\na\r\n--x--\r\n",
    b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\na\r\n--x--\r\n',
    (DISPOSITION + b"\r\n\r\na\r\n") * 101 + b"--x--\r\n",
    b'--x\r\nContent-Disposition: form-data; name="a\x00b"\r\n\r\na\r\n--x--\r\n',
)
FORMS = (
    b"", b"=", b"&", b"&&&", b"to", b"to=", b"=a", b"to=a@b.co", b"to=%", b"to=%zz", b"to=%ff", b"to=%00",
    b"to=a@b.co&to_name=x&to=c@d.co", b"to=a@b.co&subject=%0d%0aBcc:c@d.co&content=x",
    b"to=a@b.co&subject=a&subject=b&content=x", b"a=1&" * 101, b'{"to": 1}', b"[1]",
    b"to=a@b.co&subject=x&content=x&id=1", b"to=a@b.co&subject=x&content=%00", b"to[]=a@b.co&subject=x&content=x",
    b"\x00=\x00", b"to=" + b"a" * 100_000, b"to=a@b.co&subject=" + b"s" * 1000 + b"&content=x",
    b"a=" + b"%41" * 50_000, b"_method=DELETE", b"_xsrf=1",
)
QUERIES = (
    "limit=0", "limit=-1", "limit=101", "limit=1e2", "limit=", "limit=%d9%a3", "limit=99999999999999999999",
    "limit=1;2", "limit[]=1", "status=", "status=lost", "status=SENT", "status=sent,failed", "status=%00", "to=%00",
    "to=%ff", "provider=%00", "provider=%c0%80", "after=", "after=x", "after=%00", "after=../x",
    "after=" + "a" * 5000, "after=01A20C4F-9F14-7CA9-806C-59D8F7B56A5F", "color=red", "a" * 5000, "status[$ne]=sent",
    "to=%ed%a0%80", "__proto__[x]=1", "limit=1&offset=1", "sort=id", "%00=1", "%ff=1", "LIMIT=1", "limit%00=1",
    "limit=1&limit=2", "status=sent&status=sent", "to=a@b.co&to=c@d.co",
)
WAITS = (
    "wait=", "wait=forever", "wait=settled&timeout=-1", "wait=settled&timeout=61", "wait=settled&timeout=nan",
    "timeout=1e1", "a=b", "timeout=1&timeout=2",
)
IDS = (
    "x", "-", "0", "%00", "%ff", "%2e%2e", "..%2f..%2fetc%2fpasswd", "'", "%27%20or%201=1", "1;drop%20table%20mail",
    "a" * 5000, UNKNOWN, UNKNOWN.upper(), UNKNOWN[:-1], UNKNOWN + "0", "{" + UNKNOWN + "}", UNKNOWN.replace("-", ""),
    "%0d%0aX-A:%20b", "%u0000", "%", "%zz", "é", "%f0%9f%98%80", "%E2%80%AE", "null", "undefined", "NaN", "true",
    "[]", "{}", "*", "$(id)", "%60id%60", "email", "batch%00",
)
PATHS = (
    "/static/", "/static/0/", "/static/0/..%2f..%2fpyproject.toml", "/static/0/../../pyproject.toml",
    "/static/..%2f/x", "/static/0/%00", "/static/0/page.css%00.js", "/static//etc/passwd", "/.env", "/.git/config",
    "/wp-login.php", "/admin", "//evil.example", "/\\evil.example", "/email/", "/email//", "/email/x/y/z", "/EMAIL",
    "/email%00", "/%2e%2e/email", "/keys/", "/metrics/x", "/mail/x", "/mail/", "/login/x", "/parts/x",
    "/parts/timeline/x", "/rehearsal", "/rehearsal/x", "/hooks/", "/hooks/nobody", "/" + "a/" * 2000,
    "/a?" + "b" * 5000,
)
OTHER_BODIES = (
    b"", b"{}", b"[]", b"null", b'{"as": "nothing"}', b'{"as": 5}', b'{"as": ["sent"]}', b'{"as": "sent", "x": 1}',
    b'{"address": 5}', b'{"address": "a"}', b'{"address": "%"}', b'{"name": ""}', b'{"name": 5}',
    b'{"name": "x", "scopes": "root"}', b'{"name": "x", "rate": -1}', b'{"name": "x", "scopes": [1]}',
    b'{"name": "x", "domains": ["*"]}', b'{"name": "a\\u0000", "rate": 1}', b'{"name": {"a": 1}}',
)
# fmt: on


def corpus() -> Iterator[Case]:
    """All of them."""
    for address in ADDRESSES:
        yield mail(f"to {address!r}", to=address)
        yield mail(f"second to {address!r}", to=["ok@example.com", address])
        yield mail(f"from {address!r}", **{"from": address})
    for character in CONTROL:
        yield mail(f"subject with {character!r}", subject=f"a{character}b")
        yield mail(f"to_name with {character!r}", to_name=f"a{character}b")
        yield mail(f"from with {character!r}", **{"from": f"a{character}b <a@b.co>"})
    for name in TEXT_FIELDS:
        for value in WRONG_TYPES:
            yield mail(f"{name} is {value!r}", **{name: value})
    yield from (mail(f"field {name[:20]!r}", **{name: "x"}) for name in UNKNOWN_FIELDS)
    yield from (body(f"JSON {data[:20]!r}", data) for data in SYNTAX)
    whole = json.dumps(FORM).encode()
    yield from (body(f"type {kind[:60]!r}", whole, {"Content-Type": kind}) for kind in TYPES)
    yield from (body(f"parts {data[:60]!r}", data, PARTS) for data in MULTIPART)
    yield from (body(f"form {data[:40]!r}", data, URLENCODED) for data in FORMS)
    yield from (
        body(f"coded in {c}", whole, JSON | {"Content-Encoding": c}) for c in ("gzip", "br", "deflate", "zstd", "x")
    )
    yield from (body(f"key {k[:9]!r}", whole, JSON | {"Idempotency-Key": k}) for k in ("", "é", "k" * 257, "a\tb"))
    for fields in (
        {"subject": ""},
        {"subject": "s" * 999},
        {"content": ""},
        {"html": "x"},
        {"to": []},
        {"to": ["a@b.co"] * 51},
    ):
        yield mail(f"bounds of {next(iter(fields))}", **fields)
    yield from elsewhere()


def elsewhere() -> Iterator[Case]:
    """The other routes."""
    yield from (Case(f"list {query[:40]}", "GET", f"/email?{query}") for query in QUERIES)
    yield from (Case(f"wait {query}", "GET", f"/email/{UNKNOWN}?{query}") for query in WAITS)
    for mail_id in IDS:
        path = quote(mail_id, safe="%'(){}[]$*;=")
        yield Case(f"id {mail_id[:40]}", "GET", f"/email/{path}")
        yield Case(f"resolve {mail_id[:40]}", "POST", f"/email/{path}/resolve", JSON, b'{"as": "sent"}')
        yield Case(f"key {mail_id[:40]}", "DELETE", f"/keys/{path}")
        yield Case(f"provider {mail_id[:40]}", "POST", f"/providers/{path}/pause")
    yield from (Case(f"path {path[:60]}", "GET", path) for path in PATHS)
    for path in ("/email", "/providers", "/healthz", "/openapi.json", "/events", "/keys", "/erase"):
        for method in ("PUT", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "X"):
            yield Case(f"{method} {path}", method, path)
    for path in (f"/email/{UNKNOWN}/resolve", "/erase", "/keys"):
        yield from (body(f"{path[:7]} {data!r}", data, path=path) for data in OTHER_BODIES)
