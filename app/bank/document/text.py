"""What must not be lost of a text: its hard tokens and its stems, and the forms in which texts are compared."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from app.bank.document.remembering import remembered


def words(text: str) -> frozenset[str]:
    """The words of a list of words."""
    return frozenset(text.split())


KEPT_HARD: Final = 0.8
"""Share of a note's hard tokens that a text must hold to keep the note."""
KEPT_STEMS: Final = 0.5
"""Share of a note's stems that a text must hold to keep the note."""
STEM_LENGTH: Final = 6
SHORTEST_STEMMED: Final = 4
TELLING_TOKENS: Final = 3
"""From so many hard tokens on they alone decide."""

_JOINERS: Final = "\u200c\u200d"
_INVISIBLE: Final = frozenset({"Cf", "Cs", "Co", "Cn"})
_VARIATION: Final = re.compile("[\ufe00-\ufe0f]")
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_SUPERSCRIPTS: Final = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
_RAISED: Final = {
    **{ord(character): f"^{digit}" for digit, character in enumerate(_SUPERSCRIPTS)},
    **{0x2080 + digit: f"_{digit}" for digit in range(10)},
    ord("½"): " 1/2",
    ord("¼"): " 1/4",
    ord("¾"): " 3/4",
}
"""NFKC alone would make 102 of 10²."""
_ALONE: Final = ((0x80, 0x530), (0x2010, 0x2C00), (0x1F000, 0x1FB00))
"""Where the characters are that make nothing with their neighbours, marks and joiners apart: from, to."""
_LONG: Final = 1_000
"""Characters from which on a text is not taken apart to be searched."""
_FEW: Final = 100
"""So many different characters are replaced one by one: each takes the time of a search."""

_TOKEN: Final = re.compile(
    r"(?P<url>[A-Za-z][A-Za-z0-9+]{1,15}://[^\s<>\"'`|()\[\]{}]+)|(?P<word>(?:(?<!~)~(?!~))?[#./]{0,2}\w+"
    r"(?:(?:[./:@+\-]{1,3}|(?<=\d),(?=\d))\w+)*%?)"
)
_TRAILING: Final = ".,;:!?-/"
_CAMEL: Final = re.compile(r"[^\W\d_][a-z0-9]*[a-z][A-Z]")
_SENTENCE_START: Final = re.compile(
    r"(?:^|[.!?:;|>*\-\u2022(\[\"\u00ab\u201c`'\u2019#~])[ \t\"'\u00ab\u201c(\[*_`~]*\Z"
)
_WORD: Final = re.compile(r"[^\W\d_]+")
_ALNUM: Final = re.compile(r"[^\W_]")

STOP_WORDS: Final = words("""
    about above after again against also although always among another because been before being below between both
    cannot could does doing done down during each either else even ever every from further have having here hers
    herself himself into itself just like made make many more most much must myself neither never only other
    ours ourselves over quite rather really same shall should since some such than that their theirs them themselves
    then there these they this those through thus under until upon very want well were what when where whether which
    while whom whose will with within without would your yours yourself
    ainsi alors apres aucun aucune aussi autre autres avant avec avoir avons bien cela celle celles celui cependant
    certain certaine ceux chaque chez comme comment contre dans depuis deux dire doit doivent donc dont elle elles
    encore entre etaient etait etant etes etre faire fait faut font furent hors ici jusque jusqu leur leurs lors lorsque
    mais meme memes mieux moins notre nous parce parmi pendant peut peuvent plus plusieurs pour pourquoi
    puis puisque quand quel quelle quelles quelque quelques quels quoi rien sans selon sera serait seront seulement
    sinon soit sommes sont sous suis tandis tant tous tout toute toutes tres trop vers voici voila votre vous
    """)
"""Frequent words of English and French that say nothing about a subject, without accents."""


def clean(text: str) -> str:
    """The text without invisible, bidirectional and control characters; lines end in a line feed."""
    if text.isprintable() or text.replace("\n", " ").replace("\t", " ").isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROL.sub(" ", text)
    if text.isascii() or not any(map(_may_be_invisible, set(text))):
        return text
    return _NOT_ASCII.sub(lambda match: _visible(text, match.start()), text)


@lru_cache(maxsize=4_096)
def _may_be_invisible(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) in _INVISIBLE


def _visible(text: str, at: int) -> str:
    character = text[at]
    if character in _JOINERS:
        # Persian, Indic scripts and emoji need their joiners; between Latin letters they only hide differences.
        inner = 0 < at < len(text) - 1 and not text[at - 1].isascii() and not text[at + 1].isascii()
        return character if inner else ""
    return "" if unicodedata.category(character) in _INVISIBLE else character


def plain(text: str) -> str:
    """The text as it is compared, with its case: cleaned, NFKC, without accents."""
    text = clean(text)
    if text.isascii():
        return text
    foreign = [character for character in set(text) if character > "\x7f"]
    alone = [_plain_alone(character) for character in foreign] if len(foreign) <= _FEW else [None]
    if None in alone:
        return _normalized(text)
    for character, plainly in zip(foreign, alone, strict=True):
        if plainly is not None and plainly != character:
            text = text.replace(character, plainly)
    return text


@lru_cache(maxsize=4_096)
def _plain_alone(character: str) -> str | None:
    """The plain form of a character wherever it stands; None when its neighbours count."""
    is_alone = any(first <= ord(character) < end for first, end in _ALONE)
    return _normalized(character) if is_alone and unicodedata.category(character)[0] != "M" else None


def _normalized(text: str) -> str:
    if not _RAISED.keys().isdisjoint(map(ord, set(text))):
        text = text.translate(_RAISED)
    text = unicodedata.normalize("NFKC", _VARIATION.sub("", text))
    text = clean(text)
    for joiner in _JOINERS:
        text = text.replace(joiner, "")
    return _unaccented(text)


def _unaccented(text: str) -> str:
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFD", text)
    # A text has few different characters, so it is cheaper to look at each of them once.
    marks = {ord(character): None for character in set(decomposed) if unicodedata.category(character) == "Mn"}
    return unicodedata.normalize("NFC", decomposed.translate(marks) if marks else decomposed)


def _caseless(text: str) -> str:
    return _unaccented(text.casefold())


def fold(text: str) -> str:
    """The text as it is searched: no case, no accents, single blanks."""
    return single_blanks(fold_lines(text))


def fold_lines(text: str) -> str:
    """The same with its blanks and line feeds as they are."""
    return _caseless(plain(text))


def single_blanks(text: str) -> str:
    """A folded text with one blank for all that is blank."""
    if len(text) < _LONG or not text.isascii():
        return " ".join(text.split())
    # A long text is searched for what it mostly does not have; taking it apart takes ten times as long.
    for blank in "\n\t":
        text = text.replace(blank, " ")
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip(" ")


def same(text: str) -> str:
    """The text as it is tested for equality: no case, single blanks, but accents and exponents count."""
    return " ".join(unicodedata.normalize("NFC", clean(text)).casefold().split())


def code_spans(line: str) -> list[tuple[int, int]]:
    """Where the code spans of one line begin and end, their backticks included; linear whatever the line."""
    runs = [(match.start(), match.end()) for match in re.finditer("`+", line)]
    closers: dict[int, list[int]] = {}
    for number in range(len(runs) - 1, -1, -1):
        start, end = runs[number]
        closers.setdefault(end - start, []).append(number)
    spans: list[tuple[int, int]] = []
    number = 0
    while number < len(runs):
        start, end = runs[number]
        candidates = closers[end - start]
        while candidates and candidates[-1] <= number:
            candidates.pop()
        if candidates:
            spans.append((start, runs[candidates[-1]][1]))
            number = candidates[-1]
        number += 1
    return spans


def hard_tokens(text: str) -> frozenset[str]:
    """What a summary may not drop, folded: code, URLs, numbers, references, paths, identifiers and names."""
    found: set[str] = set()
    for line in plain(text).split("\n"):
        found |= _hard_tokens_of(line)
    return frozenset(found)


@remembered(4_096, longest=400)
def _hard_tokens_of(line: str) -> frozenset[str]:
    found: set[str] = set()
    for start, end in code_spans(line):
        inner = " ".join(_caseless(line[start:end].strip("`")).split())
        if _ALNUM.search(inner):
            found.add(inner)
    for match in _TOKEN.finditer(line):
        token = match.group().rstrip(_TRAILING)
        if _is_hard(token, line, match):
            found.add(_caseless(token))
    found.discard("")
    return frozenset(found)


def _is_hard(token: str, line: str, match: re.Match[str]) -> bool:
    bare = token.lstrip("#~./")
    if match.lastgroup == "url" or _is_identifier(token, bare):
        return True
    if not bare[:1].isupper() or len(bare) == 1:
        return False
    return not _SENTENCE_START.search(line[max(0, match.start() - 12) : match.start()])


def _is_identifier(token: str, bare: str) -> bool:
    is_path = "/" in bare and (token[0] in "/~." or bare.count("/") > 1)
    is_joined = "." in bare or "-" in bare or "@" in bare or "_" in bare.strip("_")
    has_digit = any(map(str.isdigit, bare))
    is_cased = bool(_CAMEL.match(bare)) or (len(bare) > 1 and bare[:2].isupper())
    return is_path or is_joined or has_digit or is_cased


def stems(text: str) -> frozenset[str]:
    """What the text is about, roughly: the beginnings of its longer words."""
    return frozenset(stem_sequence(text))


def stem_sequence(text: str) -> tuple[str, ...]:
    """The stems of a text in the order of its words."""
    return tuple(
        word[:STEM_LENGTH]
        for word in _WORD.findall(fold(text))
        if len(word) >= SHORTEST_STEMMED and word not in STOP_WORDS
    )


def lines_with(stem: str, folded_lines: str) -> list[int]:
    """Where each line begins that has the stem, in a text of `fold_lines`. Only the words that begin so are read."""
    return [folded_lines.rfind("\n", 0, found.start()) + 1 for found in _word_with(stem).finditer(folded_lines)]


@lru_cache(maxsize=1_024)
def _word_with(stem: str) -> re.Pattern[str]:
    """Finds a word of a stem, and with it the rest of its line."""
    letter = r"[^\W\d_]"
    # A word as short as its stem ends there; of a longer one the stem says nothing when it is a frequent word.
    other = [word[len(stem) :] for word in STOP_WORDS if word.startswith(stem)]
    ends = f"(?!(?:{'|'.join(other)})(?!{letter}))" if other else ""
    whole = "" if len(stem) == STEM_LENGTH else f"(?!{letter})"
    return re.compile(rf"{stem}(?<!{letter}{stem}){whole}{ends}[^\n]*")


def holds(folded: str, token: str) -> bool:
    """Is the hard token in the folded text? One with digits must stand alone: `15` is not in `2015` nor in `15.4`."""
    if not any(map(str.isdigit, token)):
        return token in folded
    at = folded.find(token)
    while at >= 0:
        end = at + len(token)
        if not _glued_before(folded, at, token) and not _glued_after(folded, end, token):
            return True
        at = folded.find(token, at + 1)
    return False


def _is_wordy(character: str) -> bool:
    return character.isalnum() or character == "_"


def _glued_before(text: str, at: int, token: str) -> bool:
    if at == 0 or not _is_wordy(token[0]):
        return False
    # A decimal mark joins digits to digits: the word in `64,abc1` stands alone.
    is_decimal = at > 1 and token[0].isdigit() and text[at - 1] in ".," and text[at - 2].isdigit()
    return _is_wordy(text[at - 1]) or is_decimal


def _glued_after(text: str, end: int, token: str) -> bool:
    if end >= len(text) or not _is_wordy(token[-1]):
        return False
    is_decimal = end + 1 < len(text) and token[-1].isdigit() and text[end] in ".," and text[end + 1].isdigit()
    return _is_wordy(text[end]) or is_decimal


def missing(tokens: frozenset[str], folded: str) -> frozenset[str]:
    """The hard tokens that a folded text does not hold."""
    return frozenset(token for token in tokens if not holds(folded, token))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What must be found again of a note."""

    hard: frozenset[str]
    stems: frozenset[str]

    def is_kept_by(self, text: str, *, same_language: bool = True) -> bool:
        """Does the text, taken from the bank, keep the note?"""
        folded = fold(text)
        if self.hard:
            share = 1 - len(missing(self.hard, folded)) / len(self.hard)
            if share < KEPT_HARD:
                return False
            if len(self.hard) >= (TELLING_TOKENS if same_language else 1):
                return True
        if not self.stems:
            return True
        return len(self.stems & stems(text)) / len(self.stems) >= KEPT_STEMS


def fingerprint(text: str) -> Fingerprint:
    """The hard tokens and stems of a text."""
    return Fingerprint(hard_tokens(text), stems(text))
