"""Where the rules of a space want things to be: files, sections, limits."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Final

from app.notes.models import Category

TITLES: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "observation": "Observations",
        "decision": "Decisions",
        "todo": "Next steps",
        "insight": "Insights",
        "question": "Open questions",
        "progress": "Progress",
        "issue": "Issues",
    },
    "fr": {
        "observation": "Observations",
        "decision": "Décisions",
        "todo": "Prochaines étapes",
        "insight": "Enseignements",
        "question": "Questions ouvertes",
        "progress": "Avancement",
        "issue": "Problèmes",
    },
}
"""Default title of the section a category is filed in."""


ARCHIVE: Final = "archive/"
"""Where files that are too long put what is over, month by month."""


def is_archive(path: str) -> bool:
    """Does the file hold what other files had no room for?"""
    return path.casefold().startswith(ARCHIVE)


@dataclass(frozen=True, slots=True)
class Route:
    """Where notes of a category go."""

    path: str
    section: str
    """Title of the section; nothing stands for the default title of the category."""


@dataclass(frozen=True, slots=True)
class FileRule:
    """What the rules say of one file, or of the files a pattern names."""

    path: str
    title: str
    """The H1 of the file when it is created."""
    description: str = ""
    append_only: bool = False
    protected: bool = False
    """Rarely modified: nothing is routed here unless the rules say so, and nothing is struck here."""
    dynamic: bool = False
    limit: int | None = None
    """Bytes."""
    sections: tuple[str, ...] = ()
    """Titles that routes ask for."""

    @property
    def is_pattern(self) -> bool:
        """Does the name stand for several files?"""
        return "*" in self.path

    def matches(self, path: str) -> bool:
        """Is this the rule of that file?"""
        if not self.is_pattern:
            return self.path.casefold() == path.casefold()
        return fnmatchcase(path.casefold(), self.path.casefold()) and path.count("/") == self.path.count("/")


@dataclass(frozen=True)
class Layout:
    """The files of a bank and the way of each category to one of them."""

    files: tuple[FileRule, ...]
    """Files with a name; at least one."""
    routes: Mapping[str, Route]
    """A route for each of the seven categories."""
    patterns: tuple[FileRule, ...] = ()
    """Files created only when a note names them, such as `persona-*.md`."""
    language: str = "en"
    """`en` or `fr`: the language of titles made here."""
    warnings: tuple[str, ...] = ()
    """What could not be understood of the rules."""

    @cached_property
    def _by_path(self) -> dict[str, FileRule]:
        return {rule.path.casefold(): rule for rule in self.files}

    def rule_of(self, path: str) -> FileRule | None:
        """The rule of a file, by name or by pattern; an archive's is not written down, but nothing changes there."""
        if found := self._named(path):
            return found
        return FileRule(path, title_from(path), append_only=True, protected=True) if is_archive(path) else None

    def allows(self, path: str) -> bool:
        """Do the rules name the file, or match it?"""
        return self._named(path) is not None

    def _named(self, path: str) -> FileRule | None:
        if found := self._by_path.get(path.casefold()):
            return found
        return next((rule for rule in self.patterns if rule.matches(path)), None)

    def route_of(self, category: str) -> Route:
        """The route of a category; a category nobody knows is an observation."""
        return self.routes.get(category) or self.routes[Category.OBSERVATION.value]

    def title_of(self, category: str) -> str:
        """The default section title of a category."""
        titles = TITLES[self.language]
        return titles.get(category, titles["observation"])


def titles_of(category: str) -> frozenset[str]:
    """The default titles of a category in every language."""
    return frozenset(titles.get(category, titles["observation"]) for titles in TITLES.values())


def title_from(path: str) -> str:
    """A title made of a file's name: `activeContext.md` is `Active context`."""
    stem = path.rsplit("/", 1)[-1].removesuffix(".md")
    spaced = re.sub(r"(?<=[a-z0-9\u00df-\u00ff])(?=[A-Z])", " ", stem)
    words = re.sub(r"[\s_-]+", " ", spaced).strip().split(" ")
    lowered = [word if word.isupper() and len(word) > 1 else word.lower() for word in words]
    title = " ".join(lowered)
    return title[:1].upper() + title[1:] or path
