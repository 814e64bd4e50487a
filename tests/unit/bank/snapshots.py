"""Banks to make prompts of."""

import math
import random
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from app.bank.document.rules import compile_rules
from app.bank.extract.pages import Filed
from app.bank.extract.snapshot import Snapshot
from app.notes.models import Note
from tests.unit.bank.projects import START, a_note

RULES = """# Memory

1. `brief.md` - foundation, rarely modified
2. `patterns.md` - architecture and technical decisions (< 15 KB)
3. `journal.md` - chronological log, append-only
4. `context.md` - current state, the most dynamic file

- decision -> patterns.md (Decisions)
- progress -> journal.md
- todo -> context.md (Next steps)
- observation, insight, question, issue -> context.md
"""

FILES = {
    "context.md": "# Context\n\nText of the file.\n\n## Next steps\n\n- [ ] 2026-01-02 Write the guide of cache-7\n",
    "patterns.md": "# Patterns\n\n## Decisions\n\n- 2026-01-01 The billing database is pg14\n\n### Old\n\n- x\n",
    "brief.md": "# Brief\n\nA memory for agents.\n",
}


def estimate(text: str) -> int:
    """About how many tokens a text is, as a client of a model would count."""
    digits = sum(character.isdigit() for character in text)
    return math.ceil((digits + (len(text.encode("utf-8", "replace")) - digits) / 3) * 1.15)


def a_snapshot(
    files: Mapping[str, str] | None = None,
    *,
    rules: str = RULES,
    synthesis: str = "The project has begun.",
    refs: Mapping[str, Filed] | None = None,
) -> Snapshot:
    return Snapshot(
        files=FILES if files is None else files,
        provenance={},
        refs=refs or {},
        layout=compile_rules(rules),
        rules=rules,
        synthesis=synthesis,
    )


def some_notes(count: int, *, category: str = "", length: int = 1, start: int = 0) -> list[Note]:
    """Notes an hour apart, of all categories in turn unless told otherwise."""
    categories = ("decision", "todo", "progress", "observation", "issue", "question", "insight")
    return [
        a_note(
            f"The service svc-{number} needs care. " * length,
            at=START + timedelta(hours=number),
            category=category or categories[number % len(categories)],
            salt=str(number),
        )
        for number in range(start, start + count)
    ]


_WORDS: Sequence[str] = re.findall(
    r"\w+",
    "database service gateway timeout region cache worker queue schema release décision mémoire équipe réseau version "
    "latency storage token bucket cluster replica journal metric alert deploy rollback upgrade branch review test",
)


def a_large_bank(size: int, *, section: int = 2_000, seed: int = 1) -> dict[str, str]:
    """The files of the rules, with about so many bytes in sections of about the same size."""
    dice = random.Random(seed)  # noqa: S311 - a bank to test with, not a secret
    names = ("brief.md", "patterns.md", "journal.md", "context.md")
    parts: dict[str, list[str]] = {name: [f"# {name}\n\n"] for name in names}
    heads = {"patterns.md": "Decisions", "context.md": "Next steps", "journal.md": "Progress", "brief.md": "Aim"}
    written = 0
    number = 0
    while written < size:
        name = names[number % len(names)]
        title = heads[name] if number < len(names) else f"Part {number} {dice.choice(_WORDS)}"
        lines = [f"## {title}\n\n"]
        length = 0
        while length < min(section, size):
            line = f"- 2026-01-{dice.randint(1, 28):02} {' '.join(dice.choices(_WORDS, k=10))} v{dice.randint(1, 99)}\n"
            lines.append(line)
            length += len(line.encode())
        text = "".join([*lines, "\n"])
        parts[name].append(text)
        written += len(text.encode())
        number += 1
    return {name: "".join(texts) for name, texts in parts.items()}
