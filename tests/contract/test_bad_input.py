"""What no caller should send: each is refused with a stable code, none breaks anything, and nothing of it is kept."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote

import httpx
import pytest

from app.api.body import MAX_BODY
from app.api.inprocess import Question, ask
from tests.conftest import BOOTSTRAP_KEY
from tests.contract.walk import SPACE, Service, prepared, problem_of

API: Final = "/api/v1"
NOTES: Final = f"{API}/spaces/{SPACE}/notes"
TOKENS: Final = f"{API}/admin/tokens"
INPUT: Final = "invalid_input"
ID: Final = "invalid_space_id"
HEADERS: Final = {"Authorization": f"Bearer {BOOTSTRAP_KEY}"}


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and with which codes it may be refused."""

    label: str
    method: str
    target: str
    body: bytes | None = None
    codes: frozenset[str] = frozenset({INPUT})
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def sent(label: str, method: str, target: str, body: object, *codes: str) -> Case:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case(label, method, target, text, frozenset(codes or {INPUT}))


def asked(label: str, target: str, *codes: str, method: str = "GET") -> Case:
    return Case(label, method, target, None, frozenset(codes or {INPUT}), {})


def a_note(**change: Any) -> dict[str, Any]:
    return {"category": "decision", "content": "x", **change}


def a_space(**change: Any) -> dict[str, Any]:
    return {"space_id": "gamma", "description": "d", "rules": "# Rules\n", **change}


def a_token(**change: Any) -> dict[str, Any]:
    return {"name": "n", "permissions": "read", **change}


def bodies_that_are_no_json() -> Iterator[Case]:
    whole = b'{"category":"decision","content":"x"}'
    deep = b"[" * 10_000 + b"]" * 10_000
    for label, body in {
        "empty object": b"{}",
        "a list": b"[]",
        "a string": b'"x"',
        "null": b"null",
        "a number": b"1",
        "cut short": whole[:-1],
        "two values": whole + whole,
        "a byte order mark": b"\xef\xbb\xbf" + whole,
        "UTF-16": whole.decode().encode("utf-16"),
        "Latin-1": '{"category":"decision","content":"é"}'.encode("latin-1"),
        "an overlong encoding": b'{"category":"decision","content":"\xc0\x80"}',
        "a surrogate in UTF-8": b'{"category":"decision","content":"\xed\xa0\x80"}',
        "a raw control character": b'{"category":"decision","content":"\x01"}',
        "a raw NUL": b'{"category":"decision","content":"\x00"}',
        "an escaped NUL": rb'{"category":"decision","content":"a\u0000b"}',
        "a lone high surrogate": rb'{"category":"decision","content":"\ud800"}',
        "a lone low surrogate": rb'{"category":"decision","content":"a\udc00"}',
        "surrogates in the wrong order": rb'{"category":"decision","content":"\udc00\ud800"}',
        "a surrogate in a name": rb'{"category":"decision","content":"x","\ud800":1}',
        "a name twice": b'{"category":"decision","content":"x","content":"y"}',
        "a name twice, once escaped": rb'{"category":"decision","content":"x","conten\u0074":"y"}',
        "NaN": b'{"category":"decision","content":NaN}',
        "Infinity": b'{"category":"decision","content":Infinity}',
        "a number too large": b'{"category":"decision","content":1e999}',
        "a number too long": b'{"category":"decision","content":' + b"9" * 5_000 + b"}",
        "10,000 levels of lists": b'{"category":"decision","content":' + deep + b"}",
        "10,000 levels of objects": b'{"content":' * 10_000 + b"1" + b"}" * 10_000,
        "65 levels": b'{"category":"decision","content":' + b"[" * 65 + b"]" * 65 + b"}",
        "a comment": b'{"category":"decision",/* */"content":"x"}',
        "a trailing comma": b'{"category":"decision","content":"x",}',
        "single quotes": b"{'category':'decision','content':'x'}",
        "a form": b"category=decision&content=x",
    }.items():
        yield sent(label, "POST", NOTES, body)
    for media_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "json",
    ):
        yield Case(f"sent as '{media_type}'", "POST", NOTES, whole, headers={"Content-Type": media_type})


def notes_that_are_none() -> Iterator[Case]:
    changes: dict[str, dict[str, Any]] = {
        "an unknown category": {"category": "gossip"},
        "a category in capitals": {"category": "DECISION"},
        "a category with a blank": {"category": "decision "},
        "an empty category": {"category": ""},
        "no category": {"category": None},
        "a category that is a list": {"category": ["decision"]},
        "content that is a number": {"content": 5},
        "content that is true": {"content": True},
        "content that is null": {"content": None},
        "content that is a list": {"content": ["x"]},
        "content that is an object": {"content": {"text": "x"}},
        "100,001 characters": {"content": "x" * 100_001},
        "100,001 characters of four bytes": {"content": "\U0001f600" * 100_001},
        "a long agent": {"agent": "a" * 65},
        "an agent with a line feed": {"agent": "a\nb"},
        "an agent with a quote and a line": {"agent": 'a"\ncategory: "todo'},
        "an agent with NUL": {"agent": "a\x00"},
        "an agent with a control character": {"agent": "a\x7f"},
        "51 tags": {"tags": ",".join("t" * 51)},
        "a long tag": {"tags": "t" * 65},
        "tags that are numbers": {"tags": [1, 2]},
        "a list of 51 tags": {"tags": ["t"] * 51},
        "a comma in a listed tag": {"tags": ["a,b"]},
        "a long tag in a list": {"tags": ["t" * 65]},
        "a tag with NUL": {"tags": "a\x00b"},
    }
    for label, change in changes.items():
        yield sent(label, "POST", NOTES, a_note(**change))
    yield sent("an unknown field", "POST", NOTES, a_note(mood="good"), "unknown_field")
    yield sent("the space in the body too", "POST", NOTES, a_note(space_id=SPACE), "unknown_field")
    yield sent("__proto__", "POST", NOTES, a_note(__proto__={"admin": True}), "unknown_field")
    yield sent("an unknown field and a wrong one", "POST", NOTES, a_note(mood="good", category="gossip"))


def ids_that_are_none() -> Iterator[Case]:
    for name in (
        "-a", "_a", ".", "..", "a.b",
        "a b", "a\nb", "a\n", "\na", "a\x00", "\x00", "é", "a/b", "a\\b", "a%2fb", "a" * 65,
        "a\u202eb", "\u200b", "\uff41", "a?b", "a#b", "a;b", "*", "~", "a" * 5_000, "con:", "\U0001f600",
    ):  # fmt: skip
        # A decoded slash ends the argument, so what is asked for is another address, or a greedy one's.
        code = "not_found" if "/" in name else ID
        yield asked(f"the id {name[:20]!r}", f"{API}/spaces/{quote(name, safe='')}/rules", code)
    for name in ("", "-a", "a/b", "a\n", "..", "a" * 65, "_system", "\u202e", "a b"):
        yield sent(f"a space named {name[:20]!r}", "POST", f"{API}/spaces", a_space(space_id=name), ID)
    for value in (None, 5, True, ["a"], {"a": 1}):
        yield sent(f"a space named {value!r}", "POST", f"{API}/spaces", a_space(space_id=value), INPUT, ID)


def spaces_that_are_none() -> Iterator[Case]:
    changes: dict[str, dict[str, Any]] = {
        "50,001 characters of rules": {"rules": "x" * 50_001},
        "501 characters of description": {"description": "x" * 501},
        "65 characters of owner": {"owner": "x" * 65},
        "rules with NUL": {"rules": "a\x00"},
        "a description with a surrogate": {"description": "\ud800"},
        "no rules": {"rules": None},
        "an owner that is a number": {"owner": 5},
    }
    for label, change in changes.items():
        yield sent(label, "POST", f"{API}/spaces", a_space(**change))
    yield sent("a field that is missing", "POST", f"{API}/spaces", {"space_id": "gamma"})
    yield sent("an unknown field", "POST", f"{API}/spaces", a_space(template="x"), "unknown_field")


def questions_that_are_none() -> Iterator[Case]:
    for value in ("-1", "501", "9" * 30, "1.5", "ten", "", "0x10", "1e2", "NaN", "%00", "\u0661\u0660", "null", "true"):
        yield asked(f"limit={value}", f"{NOTES}?limit={value}")
    for value in (
        "0.5", "now", "yesterday", "2026-13-01", "2026-02-30", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00+25:00", "1",
        "1767225600", "-2026-01-01", "2026-1-1", "%00", "x" * 65, "9" * 5_000, "2026-01-01T00:00:00Z%00", "T12:00",
    ):  # fmt: skip
        yield asked(f"since={value[:30]}", f"{NOTES}?since={value}")
    for parameter, value in (("category", "c" * 65), ("agent", "a" * 65), ("category", "%00"), ("agent", "%00")):
        yield asked(f"{parameter}={value[:10]}", f"{NOTES}?{parameter}={value}")
    for cursor in ("x", "bm9uZQ", "W10", "WzEsMiwzXQ", "eyJhIjoxfQ", "%00", "c" * 401, "é", "WyIiLCIiLCIiXQ"):
        yield asked(f"cursor={cursor[:20]}", f"{NOTES}?cursor={cursor}", "invalid_cursor", INPUT)
        yield asked(f"a list's cursor={cursor[:20]}", f"{API}/spaces?cursor={cursor}", "invalid_cursor", INPUT)
    yield asked("no query", f"{NOTES}/search")
    yield asked("a long query", f"{NOTES}/search?query={'q' * 1001}")
    yield asked("a query with NUL", f"{NOTES}/search?query=a%00b")
    yield asked("a search of -1", f"{NOTES}/search?query=a&limit=-1")
    yield asked("confirm=maybe", f"{API}/spaces/{SPACE}?confirm=maybe", method="DELETE")
    yield asked("confirm=2", f"{API}/spaces/{SPACE}?confirm=2", method="DELETE")
    yield asked("no confirm", f"{API}/spaces/{SPACE}", "confirmation_required", method="DELETE")
    yield asked("confirm=false", f"{API}/spaces/{SPACE}?confirm=false", "confirmation_required", method="DELETE")
    yield asked("backups of no id", f"{API}/backups?space_id=..", INPUT, ID)


def parameters_that_are_none() -> Iterator[Case]:
    unknown = "unknown_field"
    yield asked("a misspelt limit", f"{NOTES}?limti=5", unknown)
    yield asked("a misspelt confirm", f"{API}/spaces/{SPACE}?confrim=true", unknown, method="DELETE")
    yield asked("beside a right one", f"{API}/spaces/{SPACE}?confirm=true&dry_run=true", unknown, method="DELETE")
    yield asked("of another case", f"{NOTES}?Limit=5", unknown)
    yield asked("without a name", f"{NOTES}?=5", unknown)
    yield asked("where none is known", f"{API}/system/health?x=", unknown)
    yield sent(
        "a plan asked for in the address", "POST", f"{API}/spaces/{SPACE}/bank/consolidate?dry_run=true", {}, unknown
    )
    yield sent("of the body", "POST", f"{NOTES}?category=todo", a_note(), unknown)
    yield sent("a file", "PUT", f"{API}/spaces/{SPACE}/bank/files/a.md?if_version=1", {"content": "x"}, unknown)


def names_that_are_none() -> Iterator[Case]:
    for name in (
        "../secret.md", "a/../../b.md", "..", ".", "./a.md", "a/./b.md", "a//b.md", "/a.md", "a.md/", "a\\b.md",
        "..\\..\\a.md", "a\x00.md", "a\x7f.md", "x" * 513
    ):  # fmt: skip
        target = f"{API}/spaces/{SPACE}/bank/files/{quote(name, safe='')}"
        yield asked(f"the file {name[:20]!r}", target, INPUT)
    for name, code in (("a\nb.md", "not_found"), ("%2e%2e/a.md", "file_not_found")):
        yield asked(f"the file {name!r}", f"{API}/spaces/{SPACE}/bank/files/{quote(name, safe='')}", code)
    for name in (
        "alpha", "alpha/",
        "/2026-01-01T00-00-00", "../2026-01-01T00-00-00", f"{SPACE}/2026-01-01", f"{SPACE}/../_system",
        f"{SPACE}/2026-01-01T00-00-00/bank", f"{SPACE}/2026-01-01T00:00:00", "a" * 200,
    ):  # fmt: skip
        target = f"{API}/backups/{quote(name, safe='')}"
        yield asked(f"download {name!r}", f"{target}/download", INPUT)
        yield asked(f"delete {name!r}", f"{target}?confirm=true", INPUT, method="DELETE")


def tokens_that_are_none() -> Iterator[Case]:
    changes: dict[str, dict[str, Any]] = {
        "permissions 'all'": {"permissions": "all"},
        "permissions ''": {"permissions": ""},
        "permissions ','": {"permissions": ","},
        "permissions 'public'": {"permissions": "public"},
        "permissions 'READ'": {"permissions": "READ"},
        "permissions 'read;write'": {"permissions": "read;write"},
        "permissions that are a list": {"permissions": ["read"]},
        "spaces ','": {"space_ids": ","},
        "spaces ' '": {"space_ids": " "},
        "spaces with a slash": {"space_ids": "alpha/beta"},
        "spaces with dots": {"space_ids": "alpha,.."},
        "all and one": {"space_ids": "*,alpha"},
        "spaces with a line feed": {"space_ids": "alpha\nbeta"},
        "an empty name": {"name": ""},
        "a blank name": {"name": "   "},
        "a long name": {"name": "n" * 65},
        "a name with NUL": {"name": "a\x00"},
        "a name with a line feed": {"name": "a\nb"},
        "a name that turns the writing": {"name": "a\u202eb"},
        "a name of a surrogate": {"name": "\ud800"},
        "-1 days": {"expires_in_days": -1},
        "36,501 days": {"expires_in_days": 36_501},
        "a day and a half": {"expires_in_days": 1.5},
        "days without end": {"expires_in_days": 10**30},
    }
    for label, change in changes.items():
        yield sent(label, "POST", TOKENS, a_token(**change))
    yield sent("an e-mail address", "POST", TOKENS, a_token(email="a@example.org"), "unknown_field")
    for selector in (
        "sha256:",
        "sha256:0",
        "s",
        "sha256:01234567",
        "0123456789abcdef",
        "sha256:XYZXYZXYZ",
        "%2e%2e",
        "*",
    ):
        yield asked(f"revoke {selector}", f"{TOKENS}/{selector}/revoke", "invalid_token_hash", method="POST")
        yield sent(f"update {selector}", "PATCH", f"{TOKENS}/{selector}", {"permissions": "read"}, "invalid_token_hash")
    yield asked("revoke a very long one", f"{TOKENS}/sha256:{'0' * 500}/revoke", INPUT, method="POST")
    known = "sha256:" + "0" * 64
    for change in ({"permissions": "all"}, {"space_ids": ","}, {"permissions": ","}, {"space_ids": ["a"]}):
        yield sent(f"update to {change}", "PATCH", f"{TOKENS}/{known}", change)
    for days in (-1, 36_501, "soon", None, 1.5, [7]):
        yield sent(f"garbage of {days} days", "POST", f"{API}/admin/gc", {"max_age_days": days})
    for value in ("perhaps", 2, [True]):
        yield sent(f"garbage, confirm={value}", "POST", f"{API}/admin/gc", {"confirm": value})
    yield sent("garbage of '..'", "POST", f"{API}/admin/gc", {"space_id": ".."}, INPUT, ID)


def runs_that_are_none() -> Iterator[Case]:
    target = f"{API}/spaces/{SPACE}/bank/consolidate"
    changes: dict[str, dict[str, Any]] = {
        "wait: perhaps": {"wait": "perhaps"},
        "wait: null": {"wait": None},
        "dry_run: 2": {"dry_run": 2},
        "dry_run: a list": {"dry_run": [True]},
        "a long agent": {"agent": "a" * 65},
        "an agent with a line feed": {"agent": "a\nb"},
    }
    for label, change in changes.items():
        yield sent(label, "POST", target, change)
    yield sent("a model", "POST", target, {"model": "another"}, "unknown_field")
    for name in (
        "x", "0123456789abcdef", f"{SPACE}.", f"{SPACE}.{'g' * 16}", f"{SPACE}.{'0' * 15}", f"{SPACE}.{'0' * 17}",
        f"{SPACE}.{'A' * 16}", f".{'0' * 16}", f"..{'0' * 16}", f"{SPACE}.{'0' * 16}\n", f"{SPACE}.{'0' * 16}.json",
        f"-a.{'0' * 16}", f"{'a' * 65}.{'0' * 16}", "\u202e", "%00", "a" * 5_000,
    ):  # fmt: skip
        for end, method in (("", "GET"), ("", "DELETE"), ("/events", "GET")):
            yield asked(f"{method} job {name[:30]!r}{end}", f"{API}/jobs/{quote(name, safe='')}{end}", method=method)
    for value in ("-1", "1.5", "ten", "9" * 30, "", "%00"):
        yield asked(f"events after {value}", f"{API}/jobs/{SPACE}.{'0' * 16}/events?after={value}")


def versions_that_are_none() -> Iterator[Case]:
    bank = f"{API}/spaces/{SPACE}/bank"
    for value in (
        "-1", "1.5", "yesterday", "2026-13-01", "1" * 10, "9" * 5_000, "%00", "\u0661", "null", "0x1", "1e2", "+1",
        "2026-01-01T00:00:00+25:00", "x" * 41, "latest",
    ):  # fmt: skip
        for where in ("?as_of=", "/files?as_of=", "/files/decisions.md?as_of=", "/diff?from=", "/diff?to="):
            yield asked(f"{where}{value[:20]}", f"{bank}{where}{quote(value, safe='%')}")
    for value in ("perhaps", "2", "%00"):
        yield asked(f"sources={value}", f"{bank}/files/decisions.md?sources={value}")
        yield asked(f"provenance={value}", f"{bank}/files/decisions.md?provenance={value}")
    for value in ("-1", "501", "1.5", "ten", "%00"):
        yield asked(f"history, limit={value}", f"{bank}/history?limit={value}")
    for cursor in ("x", "W10", "%00", "c" * 401):
        yield asked(f"history, cursor={cursor[:20]}", f"{bank}/history?cursor={cursor}", "invalid_cursor", INPUT)
    yield asked("the history of a very long name", f"{bank}/history?filename={'f' * 513}")
    yield asked("the history of NUL", f"{bank}/history?filename=%00")
    for name in ("a\\b", "a\x00", "a\x7f", "n" * 256):
        yield asked(f"the note {name[:20]!r}", f"{bank}/notes/{quote(name, safe='')}")
    for body in (
        {}, {"version": 0}, {"version": -1}, {"version": 1.5}, {"version": "one"}, {"version": 10**9}, {"version": [1]},
        {"to_version": -1}, {"version": 1, "to_version": 0}, {"version": 1, "dry_run": "perhaps"},
    ):  # fmt: skip
        yield sent(f"revert {body}", "POST", f"{bank}/revert", body)
    yield sent("revert a file", "POST", f"{bank}/revert", {"version": 1, "filename": "a.md"}, "unknown_field")
    yield sent("repair, perhaps", "POST", f"{bank}/repair", {"dry_run": "perhaps"})
    for digest in ("x", "0" * 63, "0" * 65, "A" * 64, "%00", f"{'0' * 64}%0A"):
        yield asked(f"rules {digest[:10]}", f"{API}/spaces/{SPACE}/rules?sha256={digest}")


def edits_that_are_none() -> Iterator[Case]:
    files = f"{API}/spaces/{SPACE}/bank/files"
    for name in (
        "../secret.md", "..", "./a.md", "a//b.md", "/a.md", "a.md/", "a\\b.md", "a\x00.md", "a.txt", "a", ".md",
        "decisions.md/b.md", "a/b/c/d/e.md", "x" * 300 + ".md",
    ):  # fmt: skip
        yield sent(f"write {name[:20]!r}", "PUT", f"{files}/{quote(name, safe='')}", {"content": "x"})
    changes: dict[str, dict[str, Any]] = {
        "content that is a number": {"content": 5},
        "content that is null": {"content": None},
        "content that is a list": {"content": ["x"]},
        "500,001 characters": {"content": "x" * 500_001},
        "content with NUL": {"content": "a\x00"},
        "content with a surrogate": {"content": "\ud800"},
        "if_version -1": {"content": "x", "if_version": -1},
        "if_version soon": {"content": "x", "if_version": "soon"},
        "if_version 10^9": {"content": "x", "if_version": 10**9},
        "no content": {},
    }
    for label, change in changes.items():
        yield sent(label, "PUT", f"{files}/a.md", change)
    yield sent("append", "PUT", f"{files}/a.md", {"content": "x", "append": True}, "unknown_field")
    yield asked("delete, no confirm", f"{files}/decisions.md", "confirmation_required", method="DELETE")
    yield asked("delete, perhaps", f"{files}/decisions.md?confirm=perhaps", method="DELETE")
    yield asked("delete of version -1", f"{files}/decisions.md?confirm=true&if_version=-1", method="DELETE")
    space = f"{API}/spaces/{SPACE}"
    wishes: dict[str, dict[str, Any]] = {
        "501 characters": {"description": "x" * 501},
        "65 characters of owner": {"owner": "x" * 65},
        "clear everything": {"clear": "everything"},
        "clear what is given": {"owner": "x", "clear": "owner"},
        "automatic: true": {"automatic": True},
        "automatic after -1 notes": {"automatic": {"notes": -1}},
        "automatic after a year and more": {"automatic": {"max_age_minutes": 525_601}},
        "a description with NUL": {"description": "a\x00"},
        "a description that is null": {"description": None},
    }
    for label, wish in wishes.items():
        yield sent(f"update: {label}", "PATCH", space, wish)
    yield sent("update: the id", "PATCH", space, {"space_id": "other"}, "unknown_field")
    yield sent("update: automatic now and then", "PATCH", space, {"automatic": {"every": 5}}, INPUT, "unknown_field")
    for rules in (None, 5, "", "  ", "x" * 50_001, "a\x00", "template:unknown"):
        yield sent(f"rules: {str(rules)[:20]!r}", "PUT", f"{space}/rules", {"rules": rules})
    for selector in ("sha256:", "sha256:0", "s", "*"):
        target = f"{TOKENS}/{selector}"
        yield asked(f"delete {selector}", f"{target}?confirm=true", "invalid_token_hash", method="DELETE")
    known = f"{TOKENS}/sha256:{'0' * 64}"
    yield asked("delete, no confirm", known, "confirmation_required", method="DELETE")
    yield asked("delete, perhaps", f"{known}?confirm=perhaps", method="DELETE")
    for value in ("perhaps", 2, None):
        yield sent(f"purge, dry_run={value}", "POST", f"{TOKENS}/purge", {"dry_run": value})
    yield sent("purge older", "POST", f"{TOKENS}/purge", {"older_than": 5}, "unknown_field")


GROUPS: Final = (
    bodies_that_are_no_json,
    notes_that_are_none,
    ids_that_are_none,
    spaces_that_are_none,
    questions_that_are_none,
    parameters_that_are_none,
    names_that_are_none,
    tokens_that_are_none,
    runs_that_are_none,
    versions_that_are_none,
    edits_that_are_none,
)


def test_there_are_enough_cases() -> None:
    assert sum(1 for group in GROUPS for _ in group()) >= 400


async def answer_to(service: Service, case: Case) -> httpx.Response:
    """The answer to the request as it stands: an HTTP client would tidy its address up first."""
    path, _, query = case.target.partition("?")
    size = {} if case.body is None else {"Content-Length": str(len(case.body))}
    question = Question(
        method=case.method,
        path=unquote(path),
        raw_path=path.encode(),
        query=query.encode(),
        headers=[
            (name.lower().encode(), value.encode()) for name, value in {**HEADERS, **case.headers, **size}.items()
        ],
        body=case.body,
    )
    answer = await ask(service.app, question, marks={})
    return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
async def test_it_is_refused_with_its_code_and_nothing_is_kept(group: Any) -> None:
    async with prepared() as service:
        before = await service.contents()
        wrong = []
        for case in group():
            answer = await answer_to(service, case)
            code = answer.json().get("code") if "json" in answer.headers.get("content-type", "") else None
            if code not in case.codes or not 400 <= answer.status_code < 500:
                wrong.append(f"{case.label}: {answer.status_code} {code} {answer.text[:200]}")
                continue
            if code in {INPUT, ID, "unknown_field"}:
                problem = problem_of(answer, 422, code)
                assert problem["errors"], case.label
        assert not wrong, "\n".join(wrong)
        assert await service.contents() == before


@pytest.mark.parametrize(
    "target", ["backups/{backup_id}%0A?confirm=true", "spaces/project-alpha/bank/files/decisions.md%0A"]
)
async def test_a_last_line_feed_is_not_forgiven(target: str) -> None:
    async with prepared() as service:
        method = "DELETE" if "confirm" in target else "GET"
        address = f"{API}/{target.format(**service.known)}"
        answer = await answer_to(service, asked("a line feed", address, method=method))
        assert answer.status_code in {404, 422}


@pytest.mark.parametrize(
    "since",
    [
        "2026-01-31T18:05:00Z", "2026-01-31T18:05:00+00:00", "2026-01-31T19:05:00+01:00", "2026-01-31T18:05:00",
        "2026-01-31", "2026-01-31T18:05:00.000000Z", "2026-01-31T18:05:00.000+00:00", "2026-01-31T13:05:00-05:00",
    ],
)  # fmt: skip
async def test_an_instant_may_be_written_in_many_ways(since: str) -> None:
    async with prepared() as service:
        found = (await service.rest("live_read", {"space_id": SPACE, "since": since})).json()
        assert found["matched"] == 1
        later = since.replace("2026-01-31", "2026-02-01")
        assert (await service.rest("live_read", {"space_id": SPACE, "since": later})).json()["matched"] == 0


@pytest.mark.parametrize("length", [0, 1, 99_999, 100_000])
async def test_a_note_may_be_as_long_as_is_said_in_any_writing(length: int) -> None:
    async with prepared() as service:
        for letter in ("x", "\u202e", "\U0001f600"):
            made = await service.rest("live_note", {**service.example("live_note"), "content": letter * length})
            assert made.status_code == 201, made.text[:300]
            read = await service.rest("live_read", {"space_id": SPACE, "limit": 500})
            assert letter * length in {note["content"] for note in read.json()["notes"]}


@pytest.mark.parametrize(
    "content", ["---\nagent: admin\n---\n", "\u2028", "\ufeff", "\r\n\r\n", "<script>", "\x1b[31m", "{{7*7}}"]
)
async def test_odd_text_is_kept_as_it_is(content: str) -> None:
    async with prepared() as service:
        made = await service.admin("live_note", space_id=SPACE, category="insight", content=f"a{content}b", agent="")
        read = await service.admin("live_read", space_id=SPACE, category="insight")
    assert [(note["content"], note["filename"]) for note in read["notes"]] == [(f"a{content}b", made["filename"])]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("over", [False, True])
async def test_a_body_beyond_8_mib_is_cut_off(*, chunked: bool, over: bool) -> None:
    padding = b" " * (MAX_BODY - 2 + over)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"{" + padding[: MAX_BODY // 2]
        yield padding[MAX_BODY // 2 :] + b"}"

    async with prepared() as service:
        before = await service.contents()
        content: Any = chunks() if chunked else b"{" + padding + b"}"
        answer = await service.http.post(
            NOTES, content=content, headers={**HEADERS, "Content-Type": "application/json"}
        )
        problem_of(answer, *((413, "too_large") if over else (422, INPUT)))
        assert await service.contents() == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"space_id": "a/b"}, {"space_id": ""}, {"space_id": ".."}, {"space_id": "a\nb"}, {"space_id": 5},
        {"space_id": None},
        {"space_id": "\u202e"}, {"content": 5}, {"content": "x" * 100_001}, {"category": "gossip"}, {"tags": [5]},
        {"content": "a\x00b"}, {"agent": "a\nb"},
    ],
)  # fmt: skip
async def test_a_tool_refuses_the_same(arguments: dict[str, Any]) -> None:
    async with prepared() as service:
        before = await service.contents()
        answer = await service.tool("live_note", {**service.example("live_note"), **arguments})
        assert answer.is_error
        assert answer.error["code"] in {INPUT, ID, "invalid_path_argument"}
        assert await service.contents() == before
