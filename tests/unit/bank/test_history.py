import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.bank.document.layout import Layout
from app.bank.document.markdown import parse
from app.bank.document.provenance import blocks_of
from app.bank.document.rules import compile_rules
from app.bank.document.text import fingerprint, same
from app.bank.extract.extractive import consolidate
from app.notes.models import Note
from tests.unit.bank.projects import EMPTY, blocks_by_note, by_time, filed, in_batches, lost_tokens

EXAMPLES = Path(__file__).parents[3] / "app" / "examples"


def history() -> list[Note]:
    notes = []
    for line in (EXAMPLES / "uvicorn-history.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        at = datetime.fromisoformat(record["at"]).astimezone(UTC)
        suffix = hashlib.sha256(line.encode()).hexdigest()[:8]
        note_id = f"{at:%Y%m%dT%H%M%S}_{record['agent']}_{record['category']}_{suffix}.md"
        agent, tags = record["agent"], tuple(record["tags"])
        notes.append(Note(note_id, at, agent, agent, record["category"], tags, record["content"].strip(), None))
    return notes


def layouts() -> dict[str, Layout]:
    return {
        "built-in": compile_rules(""),
        "example": compile_rules((EXAMPLES / "rules.md").read_text(encoding="utf-8")),
    }


@pytest.mark.parametrize("rules", ["built-in", "example"])
def test_nine_years_of_real_notes_are_kept(rules: str) -> None:
    notes, layout = by_time(history()), layouts()[rules]
    bank = in_batches(layout, [notes[at : at + 150] for at in range(0, len(notes), 150)])
    assert len(notes) == 1_267
    assert not lost_tokens(bank, notes)
    texts = blocks_by_note(bank)
    kept = [fingerprint(note.content).is_kept_by("\n".join(texts[note.id])) for note in notes]
    assert all(kept)
    assert filed(EMPTY, layout, notes) == bank
    again = consolidate(bank.files, bank.provenance, bank.refs, layout, notes)
    assert (again.files, again.edits) == ({}, ())


def test_no_two_live_bullets_of_a_section_are_equal() -> None:
    bank = filed(EMPTY, layouts()["built-in"], history())
    for content in bank.files.values():
        bullets = [
            (placed.section, same(placed.block.raw.removeprefix("- ")[len("2026-03-02 ") :]))
            for placed in blocks_of(content)
            if placed.block.kind == "item" and "~~" not in placed.block.raw
        ]
        assert len(bullets) == len(set(bullets))


def test_no_commit_message_makes_a_section() -> None:
    bank = filed(EMPTY, layouts()["example"], history())
    assert {path: parse(content).outline() for path, content in bank.files.items()} == {
        "activeContext.md": ((1, "Active context"), (2, "Next steps")),
        "decisions.md": ((1, "Decisions"),),
        "issues.md": ((1, "Issues"),),
        "progress.md": ((1, "Progress"),),
        "techContext.md": ((1, "Technical context"), (2, "Observations")),
    }


def test_the_example_rules_are_understood_whole() -> None:
    layout = layouts()["example"]
    assert layout.warnings == ()
    assert [rule.path for rule in layout.files if rule.append_only] == ["progress.md"]
    assert [rule.path for rule in layout.files if rule.protected] == ["projectbrief.md"]
    assert layout.allows("component-parser.md")
