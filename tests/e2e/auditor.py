"""Reads a data folder without the service and says what a promise of it is broken by."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.bank.document.provenance import blocks_of

ANCHOR = re.compile(r"#\d+|\d+(?:\.\d+)*")
"""What a note must not lose: references, versions, numbers."""


def head_of(objects: Path, space_id: str) -> dict[str, Any]:
    head: dict[str, Any] = json.loads((objects / space_id / "_bank.json").read_bytes())
    return head


def commits(objects: Path, head: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The records that the head leads to, newest first."""
    key = head["history"]
    while key is not None:
        commit = json.loads(gzip.decompress((objects / key).read_bytes()))
        yield commit
        key = commit["parent"]


def faults(objects: Path, space_id: str, acknowledged: Mapping[str, str]) -> list[str]:
    """Every way in which the space is not what it promised: an empty list when all is well."""
    head = head_of(objects, space_id)
    filed = Counter(note["id"] for commit in commits(objects, head) for note in commit["consumed"])
    waiting = {path.name for path in (objects / space_id / "live").glob("*.md")} - head["note_refs"].keys()
    return [
        *placement_faults(acknowledged, filed, waiting),
        *(f"{note} is filed, but the head does not know it" for note in filed.keys() - head["note_refs"].keys()),
        *(f"{note} is known to the head, but not filed" for note in head["note_refs"].keys() - filed.keys()),
        *text_faults(head, {note: text for note, text in acknowledged.items() if note in filed}),
        *repetition_faults(head),
    ]


def placement_faults(acknowledged: Mapping[str, str], filed: Counter[str], waiting: set[str]) -> Iterator[str]:
    """Every note is in exactly one place: it waits, or one commit has filed it."""
    for note in sorted(acknowledged.keys() | filed.keys() | waiting):
        places = filed[note] + (note in waiting)
        if places != 1:
            yield f"{note} is in {places} places"


def text_faults(head: Mapping[str, Any], notes: Mapping[str, str]) -> Iterator[str]:
    """What a note said is said by blocks of the bank that name it as their source."""
    cited: dict[str, str] = {}
    for path, file in head["files"].items():
        sources = head["provenance"].get(path, {})
        for placed in blocks_of(file["content"]):
            for note in sources.get(placed.digest, ()):
                cited[note] = cited.get(note, "") + placed.block.raw + "\n"
    for note, text in notes.items():
        if note not in cited:
            yield f"{note} is cited by no block"
            continue
        there = set(ANCHOR.findall(cited[note]))
        yield from (f"{note}: {anchor} is missing" for anchor in sorted(set(ANCHOR.findall(text)) - there))


def repetition_faults(head: Mapping[str, Any]) -> Iterator[str]:
    """No section of the bank says the same thing twice."""
    for path, file in head["files"].items():
        said = Counter((placed.section, placed.digest) for placed in blocks_of(file["content"]))
        yield from (f"{path} repeats block {digest}" for (_, digest), times in said.items() if times > 1)


def view_faults(objects: Path, space_id: str) -> list[str]:
    """How the plain files for people differ from the head."""
    expected = {path: file["content"] for path, file in head_of(objects, space_id)["files"].items()}
    folder = objects / space_id / "bank"
    found = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".keep"
    }
    return sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))
