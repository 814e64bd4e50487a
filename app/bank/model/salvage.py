"""JSON as models write it: found between prose and reasoning, mended where it is broken, kept where it was cut."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

MAX_FAILURES: Final = 2_000
"""A scan gives up after so many brackets that begin nothing readable."""
MAX_DEPTH: Final = 16
"""Deeper than any answer; a mended value that goes deeper is broken."""
MAX_VALUES: Final = 20_000
"""A scan reads so many values; the operations that a hundred notes may have are a fifth of it."""
REREADS: Final = 5
"""Failed attempts of a scan may read the text so many times in all."""

INVISIBLE: Final = "\ufeff\u200b\u2060"
"""Marks that are at times put before, after and between the tokens of an answer."""

_LISTS: Final = frozenset({"ops", "operations", "file_edits", "bank_files", "skipped"})
_LONGEST_NUMBER: Final = 30
_NEAR: Final = 40
_BRACKET: Final = re.compile(r"[{\[]")
_SPACE: Final = re.compile(
    rf"(?:[\s{INVISIBLE}]++|//[^\n]*+|#[^\n]*+|/\*.{{0,2000}}?\*/)*+",
    re.DOTALL,
)
_END: Final = {'"': re.compile(r'["\\]'), "'": re.compile(r"['\\]")}
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])")
_NAME: Final = re.compile(r"[A-Za-z]+\b")
_NAMES: Final[dict[str, object]] = {
    "true": True,
    "false": False,
    "null": None,
    "none": None,
    "undefined": None,
    "nan": None,
    "infinity": None,
}
_ESCAPE: Final = re.compile(
    r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|U(000[0-9A-Fa-f]{5}|0010[0-9A-Fa-f]{4})|(.))", re.DOTALL
)
_ESCAPED: Final = {
    '"': '"',
    "'": "'",
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "\n": "\n",
}
_MARK: Final = re.compile(r'</?think(?:ing)?>|\\.|["\'{}\[\]]', re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)
_THOUGHT: Final = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_BEGINS_JSON: Final = re.compile(r"\s*[\"'{\[]")
_PLAIN_JSON: Final = re.compile(r"[{\[]\s*[\"'{\[]")
_BEGINS_ENCODED: Final = re.compile(r'"(?:\s|\\[nrt])*[{\[](?:\s|\\[nrt]|[{\[])*\\"')
_FENCE: Final = re.compile(r"(`{3,}+|~{3,}+)[^\n`]*+\n")


class Cut(dict[str, object]):
    """An object that never ends: what it holds may be half of what was meant."""


@dataclass(slots=True)
class Found:
    """What a scan of a text found."""

    values: list[object] = field(default_factory=list)
    """Complete objects and lists, none inside another, in their order."""
    pieces: list[object] = field(default_factory=list)
    """The same, and in their places the complete objects inside what is broken."""
    readers: list["_Reader"] = field(default_factory=list)
    """Of what is broken or cut."""
    failures: int = 0
    work: int = 0
    """Characters that were read in vain."""
    read: int = 0
    """Values, the broken ones included."""

    def broken(self) -> Iterator[object]:
        """What is broken or cut, as far as it goes, the last first."""
        return (reader.root() for reader in reversed(self.readers))


class _Broken(Exception):
    """The text is no JSON from here on."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


def loads(text: str) -> object:
    """The value of a text that is strict JSON, raw control characters in strings apart.

    Raises:
        ValueError: it is not.
    """
    try:
        return _STRICT.decode(text.strip().strip(INVISIBLE).strip())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def scan(text: str) -> Found:
    """Every complete JSON object and list of a text, whatever stands around it, and what is complete in broken ones.

    Understood besides JSON are single quotes, raw control characters, wrong escapes, comments, trailing commas and the
    words of Python and JavaScript. After a failure the scan goes on where it failed, so the work is in proportion to
    the length, and what is quoted in a string, even in one that was cut, is never taken for an answer.
    """
    found = Found()
    limit = REREADS * (len(text) + 1)
    start = _next(text, 0)
    while start >= 0 and found.failures < MAX_FAILURES and found.read < MAX_VALUES and found.work < limit:
        reader = _Reader(text, MAX_VALUES - found.read)
        try:
            end = reader.read(start)
        except _Broken as broken:
            found.read += reader.count
            found.failures += 1
            found.work += broken.at - start
            found.pieces.extend(reader.closed())
            found.readers.append(reader)
            # A bracket with nothing in it was part of some prose, and so may be the quote after it.
            start = _next(text, max(broken.at, start + 1) if reader.count > 1 else start + 1)
            continue
        found.read += reader.count
        value = reader.root()
        found.values.append(value)
        found.pieces.append(value)
        start = _next(text, end)
    return found


def encoded_text(text: str) -> str | None:
    """The content of the string that holds JSON as a string, even of one that was cut; None where JSON comes first."""
    begins = _BEGINS_ENCODED.search(text)
    if begins is None:
        return None
    plain = _PLAIN_JSON.search(text)
    if plain is not None and plain.start() < begins.start():
        return None
    end = _string_end(text, begins.start())
    return _unescaped(text[begins.start() + 1 : end if end >= 0 else len(text)])


def without_reasoning(text: str) -> str:
    """What follows the reasoning, up to reasoning that never ends.

    A tag inside a string of the answer is part of the answer.
    """
    start = 0
    while tag := _tag(text, start):
        if tag[0].startswith("</"):
            start = tag.end()
            continue
        end = _THOUGHT.search(text, tag.end())
        if end is None:
            return text[start : tag.start()]
        start = end.end()
    return text[start:]


def _tag(text: str, at: int) -> re.Match[str] | None:
    """The next tag around reasoning that stands in no string."""
    if _TAG.search(text, at) is None:
        return None
    depth, quote = 0, ""
    for match in _MARK.finditer(text, at):
        mark = match[0]
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "\"'":
            quote = mark if _opens_string(text, match, depth) else ""
        elif mark.startswith("<"):
            return match
        elif mark in "}]":
            depth = max(depth - 1, 0)
        elif mark in "{[" and (depth or _BEGINS_JSON.match(text, match.end())):
            # A bracket in prose opens nothing; one that is followed like this may open the answer.
            depth += 1
    return None


def _opens_string(text: str, match: re.Match[str], depth: int) -> bool:
    """Does a string begin at this quote, by what stands around it?"""
    if match[0] == '"':
        return depth > 0 or _BEGINS_ENCODED.match(text, match.start()) is not None
    before = text[max(match.start() - _NEAR, 0) : match.start()].rstrip()
    return depth > 0 and before[-1:] in tuple("{[,:")


def without_fence(text: str) -> str:
    """The text without the code fence around it; the last line may lack it."""
    bare = text.strip().strip(INVISIBLE).strip()
    opening = _FENCE.match(bare)
    if opening is None:
        return bare
    return bare[opening.end() :].removesuffix(opening[1]).rstrip()


def without_surrogates(text: str) -> str:
    """The text with pairs of surrogates joined and lone ones left out, so that it can be stored."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def _settled(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object in which the longest of several lists of operations stands, and of other repeated keys the last."""
    settled: dict[str, object] = {}
    for key, value in pairs:
        earlier = settled.get(key)
        if key in _LISTS and isinstance(earlier, list) and (not isinstance(value, list) or len(earlier) > len(value)):
            continue
        settled[key] = value
    return settled


_STRICT: Final = json.JSONDecoder(object_pairs_hook=_settled, strict=False)


@dataclass(slots=True)
class _Object:
    pairs: list[tuple[str, object]] = field(default_factory=list)
    is_closed: bool = False


class _Reader:
    """Reads one value and keeps what it has seen of it when the text breaks off."""

    def __init__(self, text: str, limit: int) -> None:
        self._text = text
        self._limit = limit
        self.count = 1
        self._root: _Object | list[object] | None = None
        self._closed: list[_Object] = []
        """The complete objects that no complete object holds."""

    def read(self, at: int) -> int:
        """Read the object or list that begins here and give the place after it."""
        self._root = _Object() if self._text[at] == "{" else []
        return self._container(self._root, at + 1, 1)

    def root(self) -> object:
        """The value as far as it was read."""
        return _plain(self._root)

    def closed(self) -> Iterator[object]:
        """The objects that were complete, none inside another, in their order."""
        return (_plain(one) for one in self._closed)

    def _container(self, into: _Object | list[object], at: int, depth: int) -> int:
        end = "}" if isinstance(into, _Object) else "]"
        before = len(self._closed)
        at = _skip(self._text, at)
        while not self._text.startswith(end, at):
            key = ""
            if isinstance(into, _Object):
                key, at = self._string(at)
                at = self._expect(":", _skip(self._text, at))
            at = self._member(into, key, _skip(self._text, at), depth)
            at = _skip(self._text, at)
            if not self._text.startswith(end, at):
                at = _skip(self._text, self._expect(",", at))
        if isinstance(into, _Object):
            into.is_closed = True
            self._closed[before:] = [into]
        return at + 1

    def _member(self, into: _Object | list[object], key: str, at: int, depth: int) -> int:
        if self.count >= self._limit:
            raise _Broken(at)
        self.count += 1
        begins = self._text[at : at + 1]
        if begins and begins in "{[":
            if depth >= MAX_DEPTH:
                raise _Broken(at)
            inner: _Object | list[object] = _Object() if begins == "{" else []
            _put(into, key, inner)
            return self._container(inner, at + 1, depth + 1)
        if begins and begins in "\"'":
            value, at = self._string(at)
            _put(into, key, value)
            return at
        if match := _NUMBER.match(self._text, at):
            _put(into, key, _number(match[0]))
            return match.end()
        name = _NAME.match(self._text, at, at + 20)
        if name is None or name[0].lower() not in _NAMES:
            raise _Broken(at)
        _put(into, key, _NAMES[name[0].lower()])
        return name.end()

    def _string(self, at: int) -> tuple[str, int]:
        if self._text[at : at + 1] not in {'"', "'"}:
            raise _Broken(at)
        end = _string_end(self._text, at)
        if end < 0:
            raise _Broken(len(self._text))
        return _unescaped(self._text[at + 1 : end]), end + 1

    def _expect(self, mark: str, at: int) -> int:
        if not self._text.startswith(mark, at):
            raise _Broken(at)
        return at + 1


def _number(written: str) -> float | str:
    if len(written) > _LONGEST_NUMBER:
        # No number of ours is that long, and one of a million digits would take seconds to convert.
        return written
    return int(written) if written.lstrip("-").isdecimal() else float(written)


def _put(into: _Object | list[object], key: str, value: object) -> None:
    if isinstance(into, _Object):
        into.pairs.append((key, value))
    else:
        into.append(value)


def _plain(value: object) -> object:
    if isinstance(value, _Object):
        settled = _settled([(key, _plain(inner)) for key, inner in value.pairs])
        return settled if value.is_closed else Cut(settled)
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _next(text: str, at: int) -> int:
    match = _BRACKET.search(text, at)
    return match.start() if match else -1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _string_end(text: str, at: int) -> int:
    """The place of the quote that ends the string that begins here, or -1."""
    stop = _END[text[at]]
    at += 1
    while match := stop.search(text, at):
        if match[0] != "\\":
            return match.start()
        at = match.end() + 1
    return -1


def _unescaped(raw: str) -> str:
    if "\\" not in raw:
        return raw
    return without_surrogates(_ESCAPE.sub(_meant, raw))


def _meant(escape: re.Match[str]) -> str:
    written = escape[1] or escape[2] or escape[3]
    if written:
        return chr(int(written, 16))
    # A backslash before another character stands for itself: `C:\dir`, `\d+`.
    return _ESCAPED.get(escape[4], escape[0])
