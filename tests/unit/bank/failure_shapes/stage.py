"""The bank and the notes that all the answers are about."""

from datetime import timedelta
from typing import Final

from app.bank.document.rules import compile_rules
from app.bank.extract.snapshot import Snapshot
from app.bank.model.proposals import Handles, SectionTarget
from tests.unit.bank.projects import START, a_note

RULES: Final = """# Memory

- `brief.md` - foundation, rarely modified
- `journal.md` - log of what was done, append-only
- `context.md` - current state, the most dynamic file
- `persona-*.md` - one file for each person

- decision -> context.md (Décisions)
- progress -> journal.md
- todo, issue -> context.md (Next steps)
"""

FILES: Final = {
    "brief.md": "# Brief\n\nA memory for agents.\n",
    "context.md": (
        "# Context\n\n"
        "## ✅ Décisions\n\n- 2026-01-05 The billing database is PostgreSQL 14\n\n"
        "## Next steps\n\n- 2026-01-06 Write the migration guide for `billing-api` 2.0\n"
    ),
    "journal.md": "# Journal\n\n- 2026-01-07 Moved CI to runner-9\n",
}

NOTES: Final = tuple(
    a_note(content, at=START + timedelta(hours=hour), category=category)
    for hour, (category, content) in enumerate(
        (
            ("decision", "The billing database is PostgreSQL 15.4 now"),
            ("progress", "Deployed `billing-api` 2.1 to region eu-3"),
            ("issue", "The export job fails on files over 512 MB"),
        )
    )
)
SAID: Final = tuple(f"- 2026-03-02 {note.content}" for note in NOTES)
"""What a good answer files for each note."""

SNAPSHOT: Final = Snapshot(
    files=FILES, provenance={}, refs={}, layout=compile_rules(RULES), rules=RULES, synthesis="Billing moves."
)

HANDLES: Final = Handles(
    files={"f1": "brief.md", "f2": "journal.md", "f3": "context.md"},
    sections={
        "s1": SectionTarget("brief.md", ("Brief",), 1, shown=True),
        "s2": SectionTarget("journal.md", ("Journal",), 1, shown=True),
        "s3": SectionTarget("context.md", ("Context",), 1, shown=True),
        "s4": SectionTarget("context.md", ("Context", "✅ Décisions"), 2, shown=True),
        "s5": SectionTarget("context.md", ("Context", "Next steps"), 3, shown=True),
    },
    notes={f"n{number}": note for number, note in enumerate(NOTES, 1)},
)
"""As a prompt numbers them."""
