"""Reads the rules of a space, Markdown written for people, as a layout of its bank."""

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from app.bank.document.blocks import is_item
from app.bank.document.layout import FileRule, Layout, Route, title_from
from app.bank.document.markdown import Enclosure, heading_of, lines_of
from app.bank.document.paths import bank_path
from app.bank.document.routing import CATEGORIES, Mention, guess_route, routes_in
from app.bank.document.text import clean, fold, words

MAX_FILES: Final = 100
_HEADING, _STRUCTURE, _PROSE = 5, 2, 1
_KEPT_SCORE: Final = 2
_LONGEST_TITLE: Final = 60
_LONGEST_DESCRIPTION: Final = 300

_CANDIDATE: Final = re.compile(r"[\w\[\]{}<>*./\\\-\u2010-\u2015]+")
_HOLE: Final = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}|<[^<>]*>|\*+")
_FOLDER: Final = re.compile(r"(?:\./|memory-bank/|memory_bank/|bank/)+")
_IGNORED: Final = frozenset(
    {"readme.md", "rules.md", "_rules.md", "agents.md", "claude.md", "gemini.md", "_synthesis.md"}
)
_TREE: Final = re.compile(r"[\s│|]*[├└]")
_NEGATION: Final = re.compile(
    r"(?:\bpas|\bnot|\bno|\bnon|n't|\bnever|\bjamais|\bni|\bnor|\bplutot que|\brather than)\b[^.;:|]{0,24}\Z"
)

_FLAGS: Final = {
    "append_only": re.compile(
        r"ne (?:rien|jamais) (?:supprimer|effacer|reecrire)|(?:ne )?jamais (?:supprimer|effacer|reecrire)|"
        r"historique complet|journal d(?:es|u|')|never (?:delete|remove|rewrite|edit)|append[- ]only|add[- ]only|"
        r"en ajout seul|ajouts? seuls?|chronological log|complete history|full history"
    ),
    "protected": re.compile(
        r"rarement modifie|modifie rarement|change rarement|quasi[- ]immuable|immuable|rarely|immutable|seldom chang"
    ),
    "dynamic": re.compile(
        r"plus dynamique|point d'entree|etat actuel|entry point|current state|most dynamic|"
        r"changes most often|travail en cours"
    ),
}
_LIMIT: Final = re.compile(
    r"(?:<=?|≤|max(?:imum)?\.?:?|moins de|under|up to|below|at most|limite?e?(?: of| de| a)?:?)\s*(\d+(?:[.,]\d+)?)\s*"
    r"(kib|kb|ko|k|mb|mo|mib|bytes|octets)\b"
)
_UNITS: Final = {"k": 1024, "m": 1024 * 1024}
_OTHERS: Final = re.compile(r"\b(?:others?|autres?|each|every|chaque|all|tous)\b[^.;|]{0,24}\Z")
_NOT_TITLE: Final = re.compile(r"^[\s\d.)#:\u2013\u2014\-]+|[\s:\u2013\u2014\-(,]+$")
_FRENCH: Final = words("le la les des du une est dans pour et sont avec ce qui")
_ENGLISH: Final = words("the of and is in for are with this that to on")


@dataclass(slots=True)
class _Draft:
    """What has been read of one file so far."""

    path: str
    score: int = 0
    title: str = ""
    description: str = ""
    flags: set[str] = field(default_factory=set)
    limit: int | None = None
    sections: dict[str, None] = field(default_factory=dict)


def compile_rules(rules: str) -> Layout:
    """The layout that rules ask for; without any file in them, the built-in one. It never fails."""
    return _Reader().read(rules)


class _Reader:
    """Goes once through the rules, line by line."""

    def __init__(self) -> None:
        self._drafts: dict[str, _Draft] = {}
        self._routes: dict[str, Route] = {}
        self._warnings: list[str] = []
        self._owners: list[tuple[int, str]] = []
        self._default_limit: int | None = None
        self._words: Counter[str] = Counter()

    def read(self, rules: str) -> Layout:
        fence = Enclosure()
        for line in lines_of(clean(rules)):
            bare = line.rstrip("\n")
            fenced = fence.feed(line)
            self._words.update(re.findall(r"[^\W\d_]+", bare.casefold()))
            heading = None if fenced else heading_of(line)
            if heading:
                self._heading(*heading)
            else:
                self._line(bare, fenced=fenced)
        return self._layout()

    def _heading(self, level: int, title: str) -> None:
        mentions = self._mentions(title, _HEADING)
        self._owners = [(depth, path) for depth, path in self._owners if depth < level]
        for start, end, path in mentions:
            draft = self._drafts[path.casefold()]
            rest = _NOT_TITLE.sub("", re.sub(r"[`*]|\(\s*\)", "", f"{title[:start]} {title[end:]}")).strip(" ()`*")
            rest = _NOT_TITLE.sub("", re.sub(r"\(.*\)", "", rest)).strip()
            if len(mentions) == 1 and not draft.title and 1 < len(rest) <= _LONGEST_TITLE:
                draft.title = " ".join(rest.split())
        if mentions:
            self._owners.append((level, mentions[0][2]))
        self._facts(title, mentions)

    def _line(self, bare: str, *, fenced: bool) -> None:
        structured = is_item(bare) or bare.lstrip().startswith("|") or bool(_TREE.match(bare)) or fenced
        mentions = self._mentions(bare, _STRUCTURE if structured else _PROSE)
        found = False
        if (structured and not fenced) or _arrow_only(bare):
            for category, route in routes_in(bare, mentions):
                found = True
                if category not in self._routes:
                    self._routes[category] = route
        if not found:
            self._describe(bare, mentions, structured=structured)
        self._facts(bare, mentions)

    def _describe(self, bare: str, mentions: list[Mention], *, structured: bool) -> None:
        text = bare.strip()
        if len(mentions) == 1 and structured:
            _, end, path = mentions[0]
            after = re.sub(r"^[\s`*_)\]:\u2013\u2014#|-]+|[\s|]+$", "", bare[end:])
            draft = self._drafts[path.casefold()]
            if after and not draft.description:
                draft.description = _plain(after)
        elif not mentions and self._owners and re.search(r"[^\W\d_]", text):
            draft = self._drafts[self._owners[-1][1].casefold()]
            if not draft.description:
                draft.description = _plain(re.sub(r"^(?:[-*+]|\d+[.)])\s+", "", text))

    def _facts(self, text: str, mentions: list[Mention]) -> None:
        """Flags and limits: of the file named just before, of the heading's own, or of the one named after."""
        # Folding keeps the order of words but not their places, so the parts around the names are folded one by one.
        cuts = [0, *(start for start, _, _ in mentions), len(text)]
        for number, (start, end) in enumerate(pairwise(cuts)):
            owner = self._owner(number, mentions)
            part = fold(text[start:end])
            for flag, pattern in _FLAGS.items():
                for match in pattern.finditer(part):
                    if owner and not _NEGATION.search(part[: match.start()]):
                        self._drafts[owner.casefold()].flags.add(flag)
            for match in _LIMIT.finditer(part):
                size = int(float(match[1].replace(",", ".")) * _UNITS.get(match[2][0], 1))
                if _OTHERS.search(part[: match.start()]):
                    self._default_limit = self._default_limit or size
                elif owner and self._drafts[owner.casefold()].limit is None:
                    self._drafts[owner.casefold()].limit = size

    def _owner(self, number: int, mentions: list[Mention]) -> str:
        if number:
            return mentions[number - 1][2]
        if self._owners:
            return self._owners[-1][1]
        return mentions[0][2] if len(mentions) == 1 else ""

    def _mentions(self, text: str, score: int) -> list[Mention]:
        found: list[Mention] = []
        for match in _CANDIDATE.finditer(text):
            name = _file_name(match.group())
            if name is None or name.rsplit("/", 1)[-1].casefold() in _IGNORED:
                continue
            path = bank_path(name.replace("*", "x"))
            if path is None:
                warning = f"'{name[:80]}' is not a legal file name; it is ignored."
                if warning not in self._warnings:
                    self._warnings.append(warning)
                continue
            path = name if "*" in name else path
            draft = self._drafts.setdefault(path.casefold(), _Draft(path))
            draft.score += score
            found.append((match.start(), match.end(), draft.path))
        return found

    def _layout(self) -> Layout:
        drafts = [draft for draft in self._drafts.values() if draft.score >= _KEPT_SCORE]
        if not [draft for draft in drafts if "*" not in draft.path]:
            drafts = [draft for draft in self._drafts.values() if draft.score >= _KEPT_SCORE or "*" not in draft.path]
        if len(drafts) > MAX_FILES:
            self._warnings.append(f"The rules name {len(drafts)} files; only the first {MAX_FILES} count.")
            drafts = drafts[:MAX_FILES]
        language = "fr" if self._count(_FRENCH) > self._count(_ENGLISH) else "en"
        files = [self._rule(draft) for draft in drafts if "*" not in draft.path]
        patterns = [self._rule(draft) for draft in drafts if "*" in draft.path]
        if not files:
            self._warnings.append("The rules name no file; activeContext.md, progress.md and decisions.md are used.")
            return _built_in(language, tuple(patterns), tuple(self._warnings))
        named = {rule.path.casefold() for rule in files}
        routes = {category: route for category, route in self._routes.items() if route.path.casefold() in named}
        guessed = [category for category in CATEGORIES if category not in routes]
        routes |= {category: guess_route(category, files) for category in guessed}
        if doubtful := [category for category in guessed if category not in routes[category].path.casefold()]:
            places = ", ".join(f"{category} → {routes[category].path}" for category in doubtful)
            self._warnings.append(f"No line says where these notes go, so the files' names decide: {places}.")
        files = [_with_sections(rule, routes) for rule in files]
        return Layout(tuple(files), routes, tuple(patterns), language, tuple(self._warnings))

    def _count(self, words: frozenset[str]) -> int:
        return sum(self._words[word] for word in words)

    def _rule(self, draft: _Draft) -> FileRule:
        return FileRule(
            path=draft.path,
            title=draft.title or title_from(draft.path),
            description=draft.description,
            append_only="append_only" in draft.flags,
            protected="protected" in draft.flags and "dynamic" not in draft.flags,
            dynamic="dynamic" in draft.flags,
            limit=draft.limit or self._default_limit,
        )


def _with_sections(rule: FileRule, routes: dict[str, Route]) -> FileRule:
    asked = dict.fromkeys(route.section for route in routes.values() if route.path == rule.path and route.section)
    return FileRule(
        rule.path,
        rule.title,
        rule.description,
        rule.append_only,
        rule.protected,
        rule.dynamic,
        rule.limit,
        tuple(asked),
    )


def _built_in(language: str, patterns: tuple[FileRule, ...], warnings: tuple[str, ...]) -> Layout:
    titles = {
        "en": ("Active context", "Progress", "Decisions"),
        "fr": ("Contexte actif", "Avancement", "Décisions"),
    }[language]
    files = (
        FileRule("activeContext.md", titles[0], "Current focus, open points and next steps.", dynamic=True),
        FileRule("progress.md", titles[1], "What was done, newest first."),
        FileRule("decisions.md", titles[2], "What was decided, and why."),
    )
    own = {"progress": "progress.md", "decision": "decisions.md"}
    routes = {category: Route(own.get(category, "activeContext.md"), "") for category in CATEGORIES}
    return Layout(files, routes, patterns, language, warnings)


def _file_name(token: str) -> str | None:
    """The file a token names, with `*` for every placeholder; None when it names none."""
    bare = token.rstrip("./")
    trimmed = bare.rstrip("*]>_")
    if trimmed.casefold().endswith(".md"):
        emphasis = len(bare) - len(bare.rstrip("*"))
        bare = trimmed[emphasis:] if emphasis and trimmed.startswith("*" * emphasis) else trimmed
        if bare.startswith("[") and "]" not in bare:
            bare = bare[1:]
        if bare.startswith("<") and ">" not in bare:
            bare = bare[1:]
    if not bare.casefold().endswith(".md"):
        return None
    bare = bare.removeprefix("**")
    name = _HOLE.sub("*", _FOLDER.sub("", bare, count=1) if _FOLDER.match(bare) else bare)
    return name if name.casefold() != ".md" else None


def _arrow_only(bare: str) -> bool:
    return any(arrow in bare for arrow in ("→", "⇒", "->", "=>"))


def _plain(text: str) -> str:
    bare = " ".join(re.sub(r"[`*|]", "", text).split())
    return bare[:_LONGEST_DESCRIPTION]
