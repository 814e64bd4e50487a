"""Which file and section a note goes to."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from app.bank.document.layout import FileRule, Layout, Route
from app.bank.document.paths import bank_path
from app.bank.document.text import clean, fold, words
from app.notes.models import Category, Note

SYNONYMS: Final[Mapping[str, str]] = {
    word: category
    for category, words in {
        "observation": "observation observations constat constats fait faits fact facts finding findings",
        "decision": "decision decisions choix arbitrage arbitrages",
        "todo": "todo todos to-do to-dos task tasks tache taches action actions",
        "insight": "insight insights learning learnings lesson lessons lecon lecons apprentissage apprentissages "
        "enseignement enseignements",
        "question": "question questions interrogation interrogations",
        "progress": "progress avancement avancements progression progres",
        "issue": "issue issues bug bugs probleme problemes problem problems blocker blockers incident incidents "
        "blocage blocages anomalie anomalies",
    }.items()
    for word in words.split()
}
"""Words that name a category, without case and accents."""
_SEEDS: Final[Mapping[str, frozenset[str]]] = {
    category: frozenset(words.split())
    for category, words in {
        "observation": "observation context contexte active actif current actuel state etat fact facts constats tech",
        "decision": "decision choice choix architecture adr rationale pattern patterns system",
        "todo": "todo next step steps task tasks plan backlog prochaine prochaines etapes taches roadmap active actif",
        "insight": "insight lesson lessons learning learnings pattern patterns enseignements lecons retour knowledge",
        "question": "question questions open ouvertes active actif faq",
        "progress": "progress avancement progression done status journal log changelog fait progres",
        "issue": "issue issues bug bugs problem problems probleme problemes incident blocker known risk progress",
    }.items()
}
_CONNECTORS: Final = words("and et ou or note notes category categorie categories the les des a of de")
_CONDITION: Final = re.compile(
    r"[\s`*,(\[]*(?:si|if|when|quand|selon|lorsque|lorsqu|depending|only|seulement|uniquement)\b"
)
_SECTION: Final = re.compile(r"[\s`*]*(?:\(([^()]{1,80})\)|[>§]\s*([^,;|()]{1,80}))")
_SECTION_WORD: Final = re.compile(
    r"(?:in\s+|dans\s+)?(?:the\s+|la\s+)?(?:sub-?sections?|sous-sections?|sections?|rubrique)\s*:?\s*", re.IGNORECASE
)
_SEPARATOR: Final = re.compile(r"→|⇒|->|=>|:(?=\s|\Z)")
_WORDS: Final = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_NOT_NAME: Final = re.compile(r"[^\w./-]+")
_MAX_INSTANCES: Final = 50
_LONGEST_PATH: Final = 260

Mention = tuple[int, int, str]
"""Where a line names a file, and which: start, end, path."""


def destination_of(note: Note, layout: Layout, existing: Collection[str]) -> tuple[str, str]:
    """Path and section title for a note: a file it names when a pattern of the rules has it, else its category's."""
    route = layout.route_of(note.category)
    title = route.section or layout.title_of(note.category)
    if layout.patterns and (instance := _instance(note, layout, existing)):
        return instance, layout.title_of(note.category)
    return route.path, title


def _instance(note: Note, layout: Layout, existing: Collection[str]) -> str | None:
    folded = {path.casefold() for path in existing}
    for name in _NOT_NAME.split(clean(note.content)):
        if not name.endswith(".md") or len(name) > _LONGEST_PATH:
            continue
        path = bank_path(name)
        if path is None or not any(pattern.matches(path) for pattern in layout.patterns):
            continue
        made = sum(any(pattern.matches(other) for pattern in layout.patterns) for other in existing)
        if path.casefold() in folded or made < _MAX_INSTANCES:
            return path
    return None


def routes_in(line: str, mentions: Sequence[Mention]) -> Iterator[tuple[str, Route]]:
    """The routes that a list item or table row of the rules states."""
    if not mentions:
        return
    if line.lstrip().startswith("|"):
        yield from _row_routes(line, mentions)
        return
    separator = _SEPARATOR.search(line)
    if separator is None or separator.end() > mentions[-1][0]:
        return
    categories = _categories(line[: separator.start()])
    if categories:
        right = [mention for mention in mentions if mention[0] >= separator.end()]
        if right and not [mention for mention in mentions if mention[0] < separator.start()]:
            route = _route(line, right)
            yield from ((category, route) for category in categories)


def _row_routes(line: str, mentions: Sequence[Mention]) -> Iterator[tuple[str, Route]]:
    start = line.index("|") + 1
    end = line.find("|", start)
    if end < 0:
        return
    categories = _categories(line[start:end])
    right = [mention for mention in mentions if mention[0] > end]
    if categories and right:
        route = _route(line, right)
        yield from ((category, route) for category in categories)
        return
    first = [mention for mention in mentions if mention[0] < end]
    if len(first) == 1:
        for cell in line[end + 1 :].split("|"):
            words = _words(cell)
            if words and all(word in SYNONYMS or word in _CONNECTORS for word in words):
                yield from ((SYNONYMS[word], Route(first[0][2], "")) for word in words if word in SYNONYMS)


def _categories(left: str) -> list[str]:
    """The categories among the first two words, or all when the text is nothing but categories."""
    words = _words(left)
    only = all(word in SYNONYMS or word in _CONNECTORS for word in words)
    return list(dict.fromkeys(SYNONYMS[word] for word in (words if only else words[:2]) if word in SYNONYMS))


def _words(text: str) -> list[str]:
    return _WORDS.findall(fold(text))


def _route(line: str, mentions: Sequence[Mention]) -> Route:
    """The first file without a condition; there is no fan-out."""
    for _, end, path in mentions:
        if not _CONDITION.match(fold(line[end:])):
            return Route(path, _section_after(line[end:]))
    return Route(mentions[0][2], "")


def _section_after(text: str) -> str:
    match = _SECTION.match(text)
    if match is None:
        return ""
    title = (match[1] or match[2] or "").strip(" \t`*\"'«»“”#")
    if _CONDITION.match(fold(title)):
        return ""
    title = _SECTION_WORD.sub("", title, count=1).strip(" \t`*\"'«»“”#.")
    return " ".join(clean(title).split())


def guess_route(category: str, files: Sequence[FileRule]) -> Route:
    """The file whose name and description sound most like the category; in doubt the dynamic one."""
    open_files = [rule for rule in files if not rule.protected] or list(files)
    entrance = next((rule for rule in open_files if rule.dynamic), None)
    entrance = entrance or next((rule for rule in open_files if "active" in rule.path.casefold()), open_files[0])
    scores = {rule.path: _score(category, rule) for rule in open_files}
    best = max(scores.values())
    winners = [rule for rule in open_files if scores[rule.path] == best]
    if best == 0 or len(winners) > 1:
        chosen = entrance if best == 0 or entrance in winners else winners[0]
        return Route(chosen.path, "")
    return Route(winners[0].path, "")


def _score(category: str, rule: FileRule) -> int:
    seeds = _SEEDS[category]
    name = {word.rstrip("s") for word in _words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", rule.path.removesuffix(".md")))}
    said = {word.rstrip("s") for word in _words(f"{rule.title} {rule.description}")}
    singular = {seed.rstrip("s") for seed in seeds}
    own = {word.rstrip("s") for word, named in SYNONYMS.items() if named == category}
    return 5 * len(own & name) + 3 * len(singular & name) + 2 * len(own & said) + len(singular & said)


CATEGORIES: Final = tuple(category.value for category in Category)
