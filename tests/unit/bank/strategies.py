"""Texts that Markdown, or people, make difficult."""

from datetime import timedelta

from hypothesis import strategies as st

from app.notes.models import Note
from tests.unit.bank.projects import HOSTILE, START, a_note

_FRAGMENTS = (
    "# A",
    "## B ##",
    "### C",
    " # D",
    "#no",
    "#",
    "####### seven",
    "```",
    "```py",
    "````",
    "~~~",
    "  ~~~ x",
    "    ```",
    "- ```",
    "<!--",
    "-->",
    "<!-- x -->",
    "---",
    "...",
    "===",
    "- item",
    "* item 2",
    "1. one",
    "   - nested",
    "  continued",
    "    code",
    "| a | b |",
    "| - | - |",
    "text",
    "`code 15.4`",
    "",
    "",
    " ",
    "\t# tab",
    "> # q",
    "- 2026-03-02 API timeout is 30",
    "- [ ] 2026-03-02 write the migration guide",
    "~~x~~",
    "\u2028# x",
    "\u200b# y",
)
_ENDINGS = st.sampled_from(("\n", "\n", "\n", "\r\n", "\r", "\n\n"))
_LINES = st.one_of(st.sampled_from(_FRAGMENTS), st.text(alphabet="#`~-*|<>! \t1a\u00e9\u200b\u2028", max_size=8))

markdown = st.builds(
    lambda parts, last: "".join(line + ending for line, ending in parts) + last,
    st.lists(st.tuples(_LINES, _ENDINGS), max_size=16),
    st.one_of(st.just(""), _LINES),
)
"""Any Markdown, with every kind of line ending and often an unfinished end."""

anything = st.one_of(st.text(max_size=60), markdown)

contents = st.one_of(
    markdown,
    st.sampled_from(HOSTILE),
    st.text(max_size=30),
    st.sampled_from(
        (
            "API timeout is 30 s",
            "API timeout is 45 s",
            "The API timeout = 60 s",
            "write the migration guide for v2",
            "Wrote the migration guide for v2",
            "Fixed #42 in src/app/main.py",
            "fixed #42 in src/app/main.py",
        )
    ),
)

_CATEGORIES = ("observation", "decision", "todo", "insight", "question", "progress", "issue", "odd")


@st.composite
def note_lists(draw: st.DrawFn, *, most: int = 8) -> list[Note]:
    """Notes of different moments, sometimes of the same one."""
    drawn = draw(
        st.lists(st.tuples(contents, st.sampled_from(_CATEGORIES), st.integers(0, 5)), min_size=1, max_size=most)
    )
    return [
        a_note(content, at=START + timedelta(days=day), category=category, salt=str(number))
        for number, (content, category, day) in enumerate(drawn)
    ]
