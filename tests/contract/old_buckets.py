"""Buckets as 0.2 and 1.3 leave them, byte by byte, and a reader that knows their rules and nothing newer."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.storage.store import ObjectStore

Objects = dict[str, bytes]

RULES: Final = b"""# Rules

## activeContext.md
Current focus and next steps.

## decisions.md
Decisions and their reasons.

## progress.md
What is done.
"""

BANK: Final = {
    "activeContext.md": "# Active context\n\n- Migrating the d\u00e9p\u00f4t to PostgreSQL 15.\n".encode(),
    "decisions.md": b"# Decisions\n\n- 2026-02-18 Redis 7 for the queue (#41).\n",
}
SYNTHESIS: Final = (
    b'---\nconsolidated_at: "2026-02-20T18:05:12.345678+00:00"\nnotes_processed: 12\n---\n\nTwelve notes, one decision.'
)
META: Final = b"""{
  "space_id": "alpha",
  "description": "R\xc3\xa9\xc3\xa9criture de l'API",
  "owner": "team-api",
  "created_at": "2026-02-18T09:00:00.123456+00:00",
  "last_consolidation": "2026-02-20T18:05:12.345678+00:00",
  "consolidation_count": 3,
  "total_notes_processed": 31,
  "version": 1
}"""

# Bytes of files that 1.3 lets a model or an operator write under any name.
LATIN: Final = "# D\u00e9cisions\n\n- \u00e9t\u00e9 2025\n".encode("latin-1")
ODD_BANK: Final = {
    "README": b"no extension",
    "D\u00e9cisions d'\u00e9quipe (v2).md": "# \u00c9quipe\n".encode(),
    'quoted "name".md': b"quotes",
    "crlf.md": b"# One\r\n\r\n- two\r\n",
    "bom.md": b"\xef\xbb\xbf# BOM\n",
    "empty.md": b"",
    "notes.keep": b"hidden by older tools",
    "sub/deep/decisions.md": b"# Deep\n",
    "sub/decisions.md": b"# Sub\n",
    "decisions.md": b"# Top\n",
    "latin.md": LATIN,
    "binary.md": bytes(range(256)),
}
NEW_SYNTHESIS: Final = (
    b'---\nconsolidated_at: "2026-03-30T10:00:00+00:00"\nnotes_processed: 4\nmode: surgical_edit\n'
    b"operations_applied: 9\noperations_failed: 1\n---\n\nNone"
)
NEW_META: Final = b"""{
  "space_id": "beta",
  "description": "With a graph",
  "owner": "",
  "created_at": "2026-03-01T00:00:00+00:00",
  "last_consolidation": null,
  "consolidation_count": 0,
  "total_notes_processed": 0,
  "graph_memory": {
    "url": "https://graph.example",
    "token": "secret",
    "push_count": 2
  },
  "version": 1
}"""
ZOMBIE_META: Final = b"""{
  "last_consolidation": "2026-02-20T18:05:12.345678+00:00",
  "consolidation_count": 1,
  "total_notes_processed": 5
}"""


def old_note(agent: str, category: str, content: str, *, at: str, digits: str, tags: str = "[]") -> tuple[str, bytes]:
    """Name and bytes of a note: the agent is not escaped, and only what a name can hold of it is in the name."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "", agent) or "agent"
    second = re.sub(r"[-:]", "", at.split(".", maxsplit=1)[0])
    body = (
        f'---\ntimestamp: "{at}"\nagent: "{agent}"\ncategory: "{category}"\ntags: {tags}\nspace_id: "alpha"\n---\n\n'
        f"{content}"
    )
    return f"{second}_{safe}_{category}_{digits}.md", body.encode()


NOTES: Final = dict(
    [
        old_note("cline-dev", "decision", "We chose PostgreSQL 15 (#42).", at="2026-02-20T18:05:12.345678+00:00",
                 digits="0a1b2c3d", tags='["db", "d\\u00e9cision"]'),
        old_note("claude_desktop_2", "todo", "Fix #43 in v1.2.3.\n\n---\n\nAfter the line.",
                 at="2026-02-20T18:06:00.000001+00:00", digits="1a1b2c3d"),
        old_note("\u00c9lodie", "observation", "L'\u00e9t\u00e9 arrive.", at="2026-02-20T18:07:00.500000+00:00",
                 digits="2a1b2c3d"),
    ]
)  # fmt: skip

ODD_NOTES: Final = dict(
    [
        old_note('Jean "le chef" O\'Neil', "insight", "Quotes in a name.", at="2026-02-21T08:00:00.100000+00:00",
                 digits="00000001"),
        old_note("\u5c71\u7530", "question", "Nothing of the name is left.", at="2026-02-21T08:00:01.100000+00:00",
                 digits="00000002"),
        old_note("a---b", "progress", "Dashes in a name.", at="2026-02-21T08:00:02.100000+00:00", digits="00000003"),
        old_note("tagger", "issue", "Dashes in a tag.", at="2026-02-21T08:00:03.100000+00:00", digits="00000004",
                 tags='["---", "x---y", "quo\\"te"]'),
        old_note('x"\ncategory: "decision', "todo", "A forged header.", at="2026-02-21T08:00:04.100000+00:00",
                 digits="00000005"),
        ("20260221T080005_plain_todo_00000006.md", b"No header at all, #7."),
        ("20260221T080006_open_todo_00000007.md", b'---\ntimestamp: "2026-02-21T08:00:06+00:00"\nnever closed'),
        ("20260221T080007_latin_todo_00000008.md", "\u00e9t\u00e9 caf\u00e9".encode("latin-1")),
        ("20260221T080008_binary_todo_00000009.md", bytes(range(256))),
        ("20260221T080009_empty_todo_0000000a.md", b""),
        ("20269921T080009_time_todo_0000000b.md", b"An impossible time in the name."),
        ("TODO d'\u00e9quipe.txt", b"A name of no tool."),
        ("archive/old.md", b"In a sub-folder."),
        ("20260221T080010_bad_todo_0000000c.md", b"---\ntags: [not json\nagent: 'single'\n---\n\nBad tags."),
        ("20260221T080011_crlf_todo_0000000d.md", b'---\r\nagent: "crlf"\r\n---\r\n\r\nWindows.'),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OldToken:
    """A token of an older tool: its text, and its entry in the registry."""

    text: str
    entry: Mapping[str, Any]

    @property
    def hash(self) -> str:
        return str(self.entry["hash"])


def old_token(name: str, permissions: list[str], space_ids: list[str], **changes: Any) -> OldToken:
    """A live token without an end, unless told otherwise."""
    text = "lm_" + (hashlib.sha256(name.encode()).hexdigest() + "_-")[-43:]
    return OldToken(
        text,
        {
            "hash": "sha256:" + hashlib.sha256(text.encode()).hexdigest(),
            "name": name,
            "permissions": permissions,
            "space_ids": space_ids,
            "created_at": "2026-01-10T10:00:00.000001+00:00",
            "expires_at": None,
            "last_used_at": None,
            "revoked": False,
            **changes,
        },
    )


TOKENS: Final = {
    token.entry["name"]: token
    for token in (
        old_token("everywhere", ["read", "write"], [], last_used_at="2026-02-20T18:00:00.000001+00:00"),
        old_token("only-alpha", ["read", "write"], ["alpha"], email="a@example.org"),
        old_token("ancient admin", ["admin"], []),
        old_token("revoked", ["read", "write", "admin"], [], revoked=True),
        old_token("expired", ["read"], [], expires_at="2026-01-11T10:00:00+00:00"),
        old_token("ends later", ["read"], [], expires_at="2027-01-11T10:00:00+00:00"),
        old_token("unknown rights", ["all", "read", ""], ["alpha", ""]),
        old_token("no rights", ["all"], []),
        old_token("nowhere", ["read"], [""]),
    )
}
UNREADABLE_ENTRIES: Final[list[Any]] = [{"name": "no hash"}, {"hash": "md5:1"}, "text", None]


def registry() -> bytes:
    """`_system/tokens.json`, as an older tool writes it; the last entries are those of a careless hand."""
    tokens = [dict(token.entry) for token in TOKENS.values()]
    return json.dumps({"version": 1, "tokens": tokens + UNREADABLE_ENTRIES}, indent=2, ensure_ascii=False).encode()


def a_space(space_id: str, meta: bytes, bank: Mapping[str, bytes], notes: Mapping[str, bytes]) -> Objects:
    """A space without a synthesis."""
    return {
        f"{space_id}/_meta.json": meta,
        f"{space_id}/_rules.md": RULES,
        f"{space_id}/live/.keep": b"",
        f"{space_id}/bank/.keep": b"",
        **{f"{space_id}/bank/{path}": body for path, body in bank.items()},
        **{f"{space_id}/live/{name}": body for name, body in notes.items()},
    }


def frozen(space: Objects, space_id: str, timestamp: str) -> Objects:
    """A backup: the exact tree of the space, and nothing more."""
    return {f"_backups/{space_id}/{timestamp}/{key.removeprefix(f'{space_id}/')}": body for key, body in space.items()}


def bucket_of_0_2() -> Objects:
    """One space with notes, bank and synthesis, two backups, and the tokens."""
    alpha = {**a_space("alpha", META, BANK, NOTES), "alpha/_synthesis.md": SYNTHESIS}
    return {
        **alpha,
        **frozen(alpha, "alpha", "2026-02-20T19-00-00"),
        **frozen({**alpha, "alpha/bank/decisions.md": b"# Decisions\n"}, "alpha", "2026-02-19T12-30-59"),
        "_system/tokens.json": registry(),
    }


def bucket_of_1_3() -> Objects:
    """Every odd case: names, bytes and half-made spaces."""
    beta = {
        **a_space("beta", NEW_META, ODD_BANK, ODD_NOTES),
        "beta/_synthesis.md": NEW_SYNTHESIS,
        "beta/bank/sub/.keep": b"",
    }
    return {
        **beta,
        **frozen(beta, "beta", "2026-03-31T23-59-59"),
        "zombie/_meta.json": ZOMBIE_META,
        "zombie/bank/decisions.md": b"# Decisions\n",
        "damaged/_meta.json": b'{"description": "caf\xe9"',
        "damaged/bank/notes.md": b"# Notes\n",
        "wrong/_meta.json": b'{"description": 7, "created_at": "soon", "consolidation_count": "3", "version": 1}',
        "ruleless/_meta.json": META.replace(b'"alpha"', b'"ruleless"'),
        "half-deleted/bank/left.md": b"left",
        "_system/tokens.json": registry(),
    }


async def plant(store: ObjectStore, objects: Objects) -> None:
    """Put the bucket into a store."""
    for key, body in objects.items():
        await store.put(key, body)


async def snapshot(store: ObjectStore) -> Objects:
    """Everything in the store."""
    keys = [listed.key async for page in store.list("") for listed in page.objects]
    return {key: (await store.get(key)).body for key in keys}  # type: ignore[union-attr]  # nobody removes any


@dataclass(frozen=True, slots=True)
class OldNote:
    """A note as an older tool understands it."""

    agent: str
    category: str
    tags: list[str]
    content: str


class OldReader:
    """Reads a bucket by the rules of 0.2, which it does not tolerate any deviation from."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def spaces(self) -> list[str]:
        names = {key.split("/")[0] for key in self._objects}
        return sorted(name for name in names if not name.startswith("_") and f"{name}/_meta.json" in self._objects)

    def meta(self, space_id: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._objects[f"{space_id}/_meta.json"].decode())
        return {name: found[name] for name in (*_TEXTS, *_COUNTS, "last_consolidation", "version")}

    def bank(self, space_id: str) -> dict[str, str]:
        return {path: body.decode() for path, body in self._below(f"{space_id}/bank/").items()}

    def synthesis(self, space_id: str) -> str:
        return self._objects[f"{space_id}/_synthesis.md"].decode()

    def notes(self, space_id: str) -> dict[str, OldNote]:
        return {name: _old_parse(body.decode()) for name, body in self._below(f"{space_id}/live/").items()}

    def _below(self, prefix: str) -> Objects:
        return {
            key.removeprefix(prefix): body
            for key, body in self._objects.items()
            if key.startswith(prefix) and not key.endswith(".keep")
        }


_TEXTS: Final = ("space_id", "description", "owner", "created_at")
_COUNTS: Final = ("consolidation_count", "total_notes_processed")


def _old_parse(text: str) -> OldNote:
    if not text.startswith("---"):
        return OldNote("", "", [], text.strip())
    _, header, content = text.split("---", 2)
    values: dict[str, str] = {}
    for line in header.strip().splitlines():
        name, _, value = line.partition(":")
        values[name.strip()] = value.strip()
    tags = values.get("tags", "")
    try:
        listed = json.loads(tags) if tags.startswith("[") else []
    except ValueError:
        listed = []
    plain = {name: value.strip('"').strip("'") for name, value in values.items()}
    return OldNote(plain.get("agent", ""), plain.get("category", ""), listed, content.strip())
