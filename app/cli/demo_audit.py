"""What lies in the data folder after the demo, read without the service: is every note there, once, and where?"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_ANCHOR: Final = re.compile(r"#\d+|(?<![\w.])v?\d+(?:\.\d+)+(?![\w.]*\d)")
_HEADING: Final = re.compile(r"#{1,6} ")


@dataclass(frozen=True, slots=True)
class Filing:
    """One edit of the bank, and the notes it was made for."""

    version: int
    path: str
    section: tuple[str, ...]
    text: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The bank as it is stored, with the whole history that led to it."""

    files: Mapping[str, str]
    filed: Counter[str]
    """Every note id that a commit filed, and how often."""
    cited: frozenset[str]
    """Every note id that some block of the bank names as its source."""
    filings: tuple[Filing, ...]
    waiting: frozenset[str]
    """Note ids that still lie in the queue."""

    def lost(self, written: Mapping[str, str]) -> list[str]:
        """Notes that are neither filed nor waiting, or that no block of the bank names."""
        return sorted(note for note in written if note not in self.waiting and not self._is_there(note))

    def _is_there(self, note: str) -> bool:
        return note in self.filed and note in self.cited

    def doubled(self) -> list[str]:
        """Notes that were filed twice, or filed and still wait; and lines that a section says twice."""
        notes = [note for note, times in self.filed.items() if times > 1 or note in self.waiting]
        return sorted(notes) + [line for content in self.files.values() for line in repeated(content)]

    def missing_anchors(self, written: Mapping[str, str]) -> list[str]:
        """Versions and `#` references of notes that the text filed for the note does not hold."""
        texts: dict[str, list[str]] = {}
        for filing in self.filings:
            for note in filing.sources:
                texts.setdefault(note, []).append(filing.text)
        bank = "\n".join(self.files.values())
        return [
            f"{note}: {anchor}"
            for note, content in written.items()
            if note not in self.waiting
            for anchor in anchors(content)
            if anchor not in "\n".join(texts.get(note, [])) or anchor not in bank
        ]


def anchors(text: str) -> list[str]:
    """The versions and `#` references in a text: what must never be lost of it."""
    return sorted(set(_ANCHOR.findall(text)))


def repeated(content: str) -> Iterator[str]:
    """The top-level bullets that a section of the file holds more than once."""
    section: Counter[str] = Counter()
    for line in [*content.splitlines(), "# "]:
        if _HEADING.match(line):
            yield from (bullet for bullet, times in section.items() if times > 1)
            section.clear()
        elif line.startswith("- "):
            section[line] += 1


def read_ledger(objects: Path, space_id: str) -> Ledger:
    """Everything about a space, from its files alone."""
    head = json.loads((objects / space_id / "_bank.json").read_bytes())
    commits = list(_chain(objects, head))
    return Ledger(
        files={path: file["content"] for path, file in head["files"].items()},
        filed=Counter(note["id"] for commit in commits for note in commit["consumed"]),
        cited=frozenset(
            note for blocks in head["provenance"].values() for sources in blocks.values() for note in sources
        ),
        filings=tuple(
            Filing(commit["version"], edit["path"], tuple(edit["section_path"]), edit["text"], tuple(edit["sources"]))
            for commit in commits
            for edit in commit["edits"]
        ),
        waiting=frozenset(path.name for path in (objects / space_id / "live").glob("*.md")) - set(head["consumed"]),
    )


def _chain(objects: Path, head: Mapping[str, Any]) -> Iterator[Any]:
    """The commits from the newest to the first, each found by the name that the one after it gives."""
    key = head["history"]
    while key is not None:
        commit = json.loads(gzip.decompress((objects / key).read_bytes()))
        yield commit
        key = commit["parent"]
