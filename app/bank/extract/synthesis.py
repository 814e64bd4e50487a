"""A few lines on the whole bank, made by counting and quoting."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from app.bank.document.layout import Layout, is_archive
from app.bank.extract.pages import Entry, Filed, Pages
from app.bank.extract.tasks import is_open_task
from app.notes.models import Category

LONGEST: Final = 4_000
"""Characters of a synthesis."""
_QUOTED: Final = 5
_LINE: Final = 160
_WORDS: Final[Mapping[str, tuple[str, str, str, str, str]]] = {
    "en": (
        "{notes} notes in {files} files ({counts}).",
        "Latest decisions",
        "Open issues",
        "Next steps",
        "and {more} more",
    ),
    "fr": (
        "{notes} notes dans {files} fichiers ({counts}).",
        "Dernières décisions",
        "Problèmes ouverts",
        "Prochaines étapes",
        "et {more} autres",
    ),
}


def synthesis_of(
    files: Mapping[str, str],
    provenance: Mapping[str, Mapping[str, Sequence[str]]],
    refs: Mapping[str, Filed],
    layout: Layout,
) -> str:
    """Counts, the latest decisions, open issues and next steps of a bank."""
    return synthesise(Pages(files, provenance, refs, layout))


def synthesise(pages: Pages) -> str:
    """The same, of a bank that is already taken apart."""
    summary, decisions, issues, steps, more = _WORDS[pages.layout.language]
    filed = {note_id for entry in pages.entries.values() for note_id in entry.ids}
    counts: dict[str, int] = {}
    for note_id in filed:
        if known := pages.refs.get(note_id):
            counts[known.category] = counts.get(known.category, 0) + 1
    counted = ", ".join(f"{category} {counts[category]}" for category in sorted(counts)) or "0"
    paragraphs = [summary.format(notes=len(filed), files=len(pages.pages), counts=counted)]
    live = [entry for entry in pages.entries.values() if _is_current(entry)]
    taken = [entry for entry in live if Category.DECISION.value in entry.categories]
    tasks = [entry for entry in live if is_open_task(entry)]
    problems = [entry for entry in tasks if Category.ISSUE.value in entry.categories]
    todos = [entry for entry in tasks if Category.ISSUE.value not in entry.categories]
    told: set[str] = set()
    # What is still to do is told as such, whatever else it is.
    fresh = {
        title: _untold(entries, told) for title, entries in ((issues, problems), (steps, todos), (decisions, taken))
    }
    paragraphs += [f"{title}:\n{_quoted(fresh[title], more)}" for title in (decisions, issues, steps) if fresh[title]]
    return "\n\n".join(paragraphs)[:LONGEST]


def _is_current(entry: Entry) -> bool:
    return entry.is_item and entry.newest is not None and entry.bullet.is_live and not is_archive(entry.page.path)


def _untold(entries: Iterable[Entry], told: set[str]) -> list[Entry]:
    """The entries, newest first, without those that say what was said before; `told` grows by them."""
    found = []
    for entry in sorted(entries, key=lambda entry: (entry.newest, entry.order), reverse=True):
        if entry.bullet.core not in told:
            told.add(entry.bullet.core)
            found.append(entry)
    return found


def _quoted(ordered: Sequence[Entry], more: str) -> str:
    lines = [f"- {_short(entry.raw)}" for entry in ordered[:_QUOTED]]
    if len(ordered) > _QUOTED:
        lines.append(f"- {more.format(more=len(ordered) - _QUOTED)}")
    return "\n".join(lines)


def _short(raw: str) -> str:
    line = raw.splitlines()[0].lstrip("-*+ ").removeprefix("[ ] ").strip()
    if len(line) <= _LINE:
        return line
    return line[:_LINE].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"
