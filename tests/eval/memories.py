"""The rules that the made-up projects are kept under, and where each note belongs under them."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.spaces.rule_templates import text_of

JOURNALS = """# Memory

## activeContext.md
What is being worked on, and what is known. The current state.

## decisions.md
Every decision with its reason. Append-only: never delete or rewrite a decision.

## progress.md
What is done, what is broken and what is left.

## Where notes go
- observation -> activeContext.md (Observations)
- insight -> activeContext.md (Insights)
- question -> activeContext.md (Questions)
- todo -> activeContext.md (Next steps)
- decision -> decisions.md
- progress -> progress.md
- issue -> progress.md (Issues)
"""


NARROW = (
    JOURNALS.replace("The current state.", "The current state. At most 3 KB.")
    .replace("rewrite a decision.", "rewrite a decision. At most 1 KB.")
    .replace("what is left.", "what is left. At most 1 KB.")
)
"""The same with files that are soon full."""


@dataclass(frozen=True)
class Memory:
    """Rules, and what somebody who reads them would say of them."""

    name: str
    rules: str
    places: Mapping[str, str]
    """Category, then file."""
    files: frozenset[str]
    """The files that may exist, apart from the archive."""
    journals: frozenset[str] = frozenset()
    """Files in which nothing is struck."""


MEMORIES = (
    Memory(
        "three files",
        JOURNALS,
        {
            "observation": "activeContext.md",
            "insight": "activeContext.md",
            "question": "activeContext.md",
            "todo": "activeContext.md",
            "decision": "decisions.md",
            "progress": "progress.md",
            "issue": "progress.md",
        },
        frozenset({"activeContext.md", "decisions.md", "progress.md"}),
        frozenset({"decisions.md"}),
    ),
    Memory(
        "standard",
        text_of("standard"),
        {
            "observation": "techContext.md",
            "decision": "systemPatterns.md",
            "todo": "activeContext.md",
            "insight": "systemPatterns.md",
            "question": "activeContext.md",
            "progress": "progress.md",
            "issue": "activeContext.md",
        },
        frozenset(
            {
                "projectbrief.md",
                "productContext.md",
                "systemPatterns.md",
                "techContext.md",
                "activeContext.md",
                "progress.md",
            }
        ),
        frozenset({"progress.md"}),
    ),
    Memory(
        "journal-fr",
        text_of("journal-fr"),
        {
            "observation": "faits.md",
            "decision": "decisions.md",
            "todo": "maintenant.md",
            "insight": "enseignements.md",
            "question": "maintenant.md",
            "progress": "journal.md",
            "issue": "maintenant.md",
        },
        frozenset({"maintenant.md", "journal.md", "decisions.md", "enseignements.md", "faits.md"}),
        frozenset({"journal.md"}),
    ),
)
