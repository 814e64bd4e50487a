"""Rules that are ready to use: Markdown beside this module, named instead of pasted."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

PREFIX: Final = "template:"
TEMPLATES: Final[Mapping[str, str]] = {
    "standard": "A software project: brief, product, architecture, technology, current work, progress.",
    "standard-fr": "The same, in French.",
    "book": "A book: world, narrative, characters, voice, current work, progress.",
    "book-fr": "The same, in French.",
    "journal": "A journal of work: what is at hand, what happened, decisions, lessons, facts.",
    "journal-fr": "The same, in French.",
    "support": "A support team: open cases, known problems, the service, procedures, customers, log.",
    "support-fr": "The same, in French.",
}
"""Each name, and what it is for."""

_NAMED: Final = re.compile(rf"\s*{PREFIX}[ \t]*(?P<name>[^\s]*)\s*", re.IGNORECASE)


def expanded(rules: str) -> str:
    """The rules, or the text of the template that they are the name of.

    Raises:
        ValueError: there is no template of that name.
    """
    match = _NAMED.fullmatch(rules)
    if match is None:
        return rules
    name = match["name"].casefold()
    if name not in TEMPLATES:
        raise ValueError(f"there is no template '{match['name'][:64]}': choose from {', '.join(TEMPLATES)}")
    return text_of(name)


@cache
def text_of(name: str) -> str:
    """The Markdown of a template that there is."""
    return files("app.spaces").joinpath("templates", f"{name}.md").read_text(encoding="utf-8")
