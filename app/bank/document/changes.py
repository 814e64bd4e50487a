"""What a text says has changed, been closed or been answered, in English or French; nothing where it is not plain."""

import re
from dataclasses import dataclass
from typing import Final

from app.bank.document.text import fold, words

ARTICLES: Final = words("the a an our this le la les l un une des du de d of notre nos ce cette")
_LONGEST: Final = 240
_MOST_NAMED: Final = 8

_WORDS: Final = re.compile(r"[\w][\w.\-/]*")
_TERM: Final = r"[^\s,;:!?()]+(?:\s+[^\s,;:!?()]+){0,4}?"
_END: Final = (
    r"(?=\s*(?:[,;:!?()]|\.(?:\s|\Z)|\Z)|\s+(?:because|since|for|so|due|in|on|at|as|after|before|with|and|but|to|"
    r"pour|car|afin|parce|suite|dans|sur|apres|avec|et|mais)\b)"
)
_TO_VERBS: Final = (
    r"(?:switch(?:ed|es|ing)?|mov(?:e|ed|es|ing)|migrat(?:e|ed|es|ing)|chang(?:e|ed|es|ing)|upgrad(?:e|ed|es|ing)|"
    r"downgrad(?:e|ed|es|ing)|rais(?:e|ed|es|ing)|lower(?:ed|s|ing)?|increas(?:e|ed|es|ing)|"
    r"decreas(?:e|ed|es|ing)|reduc(?:e|ed|es|ing)|bump(?:ed|s|ing)?|went|goes|"
    r"pass(?:e|es|er|ee|ees|ons|ent)|migr(?:e|er|es|ee|ees|ons)|bascul(?:e|er|es|ee|ees|ons)|"
    r"augment(?:e|er|es|ee|ees|ons)|redui(?:t|te|tes|ts|re|sons)|baiss(?:e|er|es|ee|ees|ons)|"
    r"abaiss(?:e|er|es|ee|ees|ons)|relev(?:e|er|es|ee|ees|ons)|mont(?:e|er|es|ee|ees|ons))"
)
_FROM_TO: Final = re.compile(
    rf"(?P<before>[^.;:!?]{{0,100}}?)\b{_TO_VERBS}\b(?P<between>[^;:!?]{{0,100}})\b(?:from|de)\s+(?P<old>{_TERM})\s+"
    rf"(?:to|a|vers)\s+(?P<new>{_TERM}){_END}(?P<rest>.*)\Z"
)
_REPLACES: Final = re.compile(
    rf"(?P<before>[^.;:!?]{{0,60}}?)\b(?:replac(?:e|ed|es|ing)|remplac(?:e|er|es|ent|ons))\s+(?P<old>{_TERM})\s+"
    rf"(?:with|by|par)\s+(?P<new>{_TERM}){_END}(?P<rest>.*)\Z"
)
_REPLACED: Final = re.compile(
    rf"(?P<before>)(?P<old>{_TERM})\s+(?:(?:is|are|was|were|has been|have been|est|sont|a ete|ont ete)\s+)"
    rf"(?:replaced\s+(?:with|by)|remplacee?s?\s+par)\s+(?P<new>{_TERM}){_END}(?P<rest>.*)\Z"
)
_CHOICE: Final = re.compile(
    rf"(?:(?:we|on|nous)\s+)?(?:now\s+)?(?:use|uses|using|chose|choose|picked|selected|run on|rely on|utilise|"
    rf"utilisons|avons choisi|a choisi|choisissons)\s+(?P<value>{_TERM}){_END}(?P<rest>.*)\Z"
)
_DOUBTFUL: Final = words("""
    not never no should would could might may can cannot will plan plans planned planning want wants consider
    considering propose proposed proposal if whether maybe perhaps need needs todo try tried trying failed revert
    reverted rollback undo still once when until unless attempt soon later eventually
    ne pas jamais devrait pourrait faudrait faut doit si peut peutetre envisage propose essaye essai annule echec
    bientot lorsque quand
    """)
_NO_SUBJECT: Final = words("""
    we i they he she it us you team just now finally also already was were is are has been have had be being being's
    decided decision decide to on nous je ils elles il elle a ete est sont avons ont vient venons by par and et so
    today yesterday hier aujourd'hui hui enfin deja maintenant
    """)
_NAMED_AS: Final = re.compile(r"[^\W\d_]")
_QUOTES: Final = "\"'`*_«»“”()[]"
_MEASURE: Final = re.compile(r"[~<>=+-]?\d")

_REFERENCE: Final = re.compile(r"(?<![\w/#&])#(\d{1,9})(?![\w])")
_REPAIRS: Final = (
    r"(?:fix|fixe[sd]|close[sd]?|resolve[sd]?|solve[sd]?|"
    r"resout|resolu(?:e|s|es)?|corrige(?:e|s|es)?|regle(?:e|s|es)?|clot|clos|close|ferme(?:e|s|es)?|termine(?:e|s|es)?)"
)
_CLOSING: Final = re.compile(
    rf"(?:(?P<lead>[^\W\d_']+)['\s]+)?\b{_REPAIRS}\b\s*:?\s*(?:(?:the|le|la|les|l'|issues?|bugs?|tickets?|anomalies?|"
    r"problemes?|taches?|tasks?|todos?|gh)\s*)*"
    r"(?P<list>#\d{1,9}\b(?:(?:\s*[,;&]\s*|\s+(?:and|et)\s+|\s*,\s*(?:and|et)\s+)#\d{1,9}\b)*)"
)
_CLOSED: Final = re.compile(
    r"(?:(?P<lead>[^\W\d_']+)\s+)?(?P<list>(?<![\w/#&])#\d{1,9})\s+"
    r"(?:(?:is|was|has been|est|a ete)\s+)?(?:now\s+|maintenant\s+)?"
    r"(?:fixed|closed|resolved|solved|resolue?|corrigee?|close?|reglee?)\b"
)
_HEDGES: Final = words(
    "to will should would could may might must can if when once until cannot not never va doit "
    "devrait pourrait peut faut pour si quand lorsque pas jamais"
)
_ANSWERS: Final = re.compile(
    r"(?:answer(?:ed|s|ing)?|reponse|repondu|re)\b[^.!?]{0,40}?(?=[:#,])|(?:a|r)\s*:|(?:yes|no|oui|non)\b\s*[,:.]"
)
_CAUSES: Final = re.compile(
    r"\b(?:because|due to|caused by|the reason|root cause|parce que?|car|a cause d|cause[e]? par)\b"
)
_WHY: Final = re.compile(r"\b(?:why|pourquoi)\b")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that had one value, and has another one now."""

    subject: frozenset[str]
    """Words that say what has changed; empty when only the values are named."""
    old: str
    new: str
    scope: frozenset[str]
    """Words after the new value: where, for what."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A thing that is used, where a text says just that."""

    value: str
    scope: frozenset[str]


def named(text: str) -> list[str]:
    """The words that name something, folded."""
    spoken = fold(text.replace("'", " ").replace("\u2019", " "))
    return [word.strip("-./") for word in _WORDS.findall(spoken)]


def term(text: str) -> str:
    """A value as two are compared: folded, without quotes, articles and closing marks."""
    spoken = [word for word in (part.strip(_QUOTES) for part in fold(text).split()) if word]
    while spoken and spoken[0] in ARTICLES:
        spoken = spoken[1:]
    return " ".join(spoken).rstrip(" .!,")


def is_name(value: str) -> bool:
    """Does the value name a thing, and is it not a measure such as `30 s`, which many things may have?"""
    return bool(_NAMED_AS.search(value)) and not _MEASURE.match(value)


def change_of(text: str) -> Change | None:
    """What the first line of a text says has changed; None where it asks, doubts or plans."""
    line = _plain_line(text)
    if line is None:
        return None
    for pattern in (_FROM_TO, _REPLACES, _REPLACED):
        if match := pattern.match(line):
            return _change(match)
    return None


def choice_of(text: str) -> Choice | None:
    """What a short text says is used."""
    line = _plain_line(text)
    match = _CHOICE.match(line) if line is not None and "\n" not in text.strip() else None
    if match is None or not (value := term(match["value"])) or not is_name(value):
        return None
    return Choice(value, _scope(match["rest"]))


def _plain_line(text: str) -> str | None:
    first = text.strip().partition("\n")[0]
    if len(first) > _LONGEST or "?" in first:
        return None
    line = fold(first.replace("\u2019", "'").replace("d'", "de ").replace("n't", " not"))
    return None if not _DOUBTFUL.isdisjoint(re.findall(r"[^\W\d_]+", line)) else line


def _change(match: re.Match[str]) -> Change | None:
    old, new = term(match["old"]), term(match["new"])
    spoken = named(match["before"]) + named(match.groupdict().get("between") or "")
    subject = frozenset(word for word in spoken if word and word not in ARTICLES and word not in _NO_SUBJECT)
    if not old or not new or old == new or len(subject) > _MOST_NAMED:
        return None
    return Change(subject, old, new, _scope(match["rest"]))


def _scope(rest: str) -> frozenset[str]:
    clause = re.split(r"[.;:!?()#]|\b(?:because|since|due|so|car|parce|afin|suite)\b", rest, maxsplit=1)[0]
    small = words("for in on at as after before with and but to pour dans sur apres avec et mais")
    return frozenset(word for word in named(clause) if word and word not in ARTICLES and word not in small)


def references(text: str) -> frozenset[str]:
    """The numbers that a text cites as `#312`, those of other projects left out."""
    return frozenset(_REFERENCE.findall(text))


def closed_references(text: str) -> frozenset[str]:
    """The numbers that a text says are fixed or closed: `fixes #312`, `closes #3 and #4`, `résout #5`."""
    found: set[str] = set()
    if "#" not in text:
        return frozenset()
    for line in text.split("\n"):
        folded = fold(line.replace("\u2019", "'").replace("n't", " not"))
        for pattern in (_CLOSING, _CLOSED):
            for match in pattern.finditer(folded):
                if (match["lead"] or "") not in _HEDGES:
                    found |= references(match["list"])
    return frozenset(found) & references(text)


def begins_as_answer(text: str) -> bool:
    """Does the text say of itself that it answers something?"""
    return bool(_ANSWERS.match(fold(text)))


def asks_why(text: str) -> bool:
    """Does a question ask for a reason?"""
    return bool(_WHY.search(fold(text)))


def gives_reason(text: str) -> bool:
    """Does a text give a reason?"""
    return bool(_CAUSES.search(fold(text)))
