"""What may not enter the bank as it stands, since every agent reads the bank as truth.

Nothing is dropped but invisible characters and secrets: markup is made inert, and an instruction becomes a quotation.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from app.bank.document.markdown import Enclosure, lines_of
from app.bank.document.text import clean, code_spans, fold
from app.bank.document.threats import (
    BARE,
    CODEABLE,
    COMMANDS,
    ENTITY,
    KEY,
    LABELLED,
    NAMED,
    NO_PRINT,
    SCRIPT,
    SECRETS,
    TAG,
    TAGS,
    UNSEEN,
)
from app.notes.models import Note

INVISIBLE: Final = "invisible characters"
MARKUP: Final = "HTML"
LINK: Final = "script or data link"
SECRET: Final = "secret"  # noqa: S105 - the name of a finding
INSTRUCTION: Final = "instruction to agents"

MASK: Final = "[secret masked]"
_LONGEST_AUTHOR: Final = 64

_LEAD: Final = re.compile(
    r"\A[ \t]*(?:>[ \t]?)*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?:\[[ xX]\][ \t]+)?(?:\d{4}-\d\d-\d\d[ \t]+)?"
)


def made_safe(text: str, author: str, *, known: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """A text as it may enter the bank, and what was found in it.

    Code spans and fences only lose invisible characters. A line that instructs agents becomes a quotation of the
    author; of a secret only the secret goes. The lines of `known` are in the bank already and stay as they are.
    """
    found: set[str] = set()
    visible = _seen(text, found)
    masked = _without_keys(visible, found)
    enclosure = Enclosure()
    lines: list[str] = []
    orders: set[int] = set()
    above = ""
    for number, line in enumerate(lines_of(masked)):
        was_fence = enclosure.kind == "fence"
        if enclosure.feed(line) and (was_fence or enclosure.kind == "fence"):
            lines.append(SECRETS.sub(lambda match: _masked(match, found), line))
            above = ""
            continue
        if known and line.rstrip("\n") in known:
            lines.append(line)
            above = ""
            continue
        safe, prose = _safe_line(line.rstrip("\n"), found)
        lines.append(safe + line[len(line.rstrip("\n")) :])
        if COMMANDS.search(prose):
            orders.add(number)
        elif above and prose and number - 1 not in orders and COMMANDS.search(f"{above} {prose}"):
            # The order is broken over two lines.
            orders |= {number - 1, number}
        above = prose
    if orders:
        found.add(INSTRUCTION)
    for number in orders:
        bare = lines[number].rstrip("\n")
        lines[number] = _quoted(bare, author) + lines[number][len(bare) :]
    return "".join(lines), tuple(sorted(found))


def prose_lines(text: str) -> frozenset[str]:
    """The lines of a text that are not code, without their endings."""
    enclosure = Enclosure()
    return frozenset(line.rstrip("\r\n") for line in lines_of(text) if not enclosure.feed(line) and line.strip())


def safe_note(note: Note) -> tuple[Note, tuple[str, ...]]:
    """A note whose content may enter the bank, and what was found in it."""
    # The label is whatever its author has chosen; what is quoted is quoted under the authenticated name.
    content, found = made_safe(note.content, note.identity)
    return (note, found) if content == note.content else (replace(note, content=content), found)


def _seen(text: str, found: set[str]) -> str:
    cleaned = clean(text)
    if cleaned.isascii() and len(cleaned) == len(text):
        if NO_PRINT.search(text):
            found.add(INVISIBLE)
        return cleaned
    cleaned = UNSEEN.sub("", cleaned)
    if len(cleaned) != len(text.replace("\r\n", "\n")) or NO_PRINT.search(text):
        found.add(INVISIBLE)
    return cleaned


def _without_keys(text: str, found: set[str]) -> str:
    if "-----BEGIN" not in text:
        return text
    masked, count = KEY.subn(MASK, text)
    if count:
        found.add(SECRET)
    return masked


def _safe_line(line: str, found: set[str]) -> tuple[str, str]:
    """A line made inert, and what of it is not code, folded."""
    parts: list[str] = []
    kept = 0
    spans = code_spans(line)
    for start, end in [*spans, (len(line), len(line))]:
        parts.append(_safe_prose(line[kept:start], found))
        if start < end:
            parts.append(SECRETS.sub(lambda match: _masked(match, found), line[start:end]))
        kept = end
    prose = " ".join(line[before:after] for before, after in _between(spans, len(line)))
    return "".join(parts), fold(prose)


def _between(spans: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    cuts = [0, *(cut for span in spans for cut in span), length]
    return list(zip(cuts[::2], cuts[1::2], strict=True))


def _safe_prose(text: str, found: set[str]) -> str:
    if not text.strip():
        return text
    text = SECRETS.sub(lambda match: _masked(match, found), text)
    text = LABELLED.sub(lambda match: _safe_link(match, found), text)
    pieces: list[str] = []
    kept = 0
    for start, end in [*code_spans(text), (len(text), len(text))]:
        piece = BARE.sub(lambda match: _safe_target(match, found), text[kept:start])
        pieces += [TAG.sub(lambda match: _safe_tag(match, found), piece), text[start:end]]
        kept = end
    return "".join(pieces)


def _masked(match: re.Match[str], found: set[str]) -> str:
    found.add(SECRET)
    return (match["bearer"] or match["login"] or match["assigned"] or match["named"] or "") + MASK


def _safe_link(match: re.Match[str], found: set[str]) -> str:
    if not _is_script(match[2]):
        return match.group()
    found.add(LINK)
    return f"{match[1]} ({_as_code(match[2])})"


def _safe_target(match: re.Match[str], found: set[str]) -> str:
    if not _is_script(match[1]):
        return match.group()
    found.add(LINK)
    return _as_code(match[1])


def _is_script(target: str) -> bool:
    plain = ENTITY.sub(_decoded, target) if "&" in target else target
    return bool(SCRIPT.match(plain.strip()))


def _decoded(match: re.Match[str]) -> str:
    number = int(match[1], 16) if match[1] else int(match[2]) if match[2] else None
    if number is None:
        return NAMED[match[3].casefold()]
    return chr(number) if 0x20 < number < 0x7F else ""  # noqa: PLR2004 - printable ASCII


def _as_code(text: str) -> str:
    return f"`{CODEABLE.sub('', text)}`"


def _safe_tag(match: re.Match[str], found: set[str]) -> str:
    name = match[1]
    if name is not None and name.casefold() not in TAGS and "=" not in (match[2] or ""):
        return match.group()
    found.add(MARKUP)
    return "&lt;" + match.group()[1:]


def _quoted(line: str, author: str) -> str:
    """The line as something somebody said; its list marker and date stay in front."""
    lead = _LEAD.match(line)
    start = lead.end() if lead else 0
    name = " ".join(re.sub(r"[\"`<>|\[\]]", " ", clean(author)).split())[:_LONGEST_AUTHOR] or "somebody"
    opening = f'{name} wrote: "'
    said = line[start:].strip()
    if said.startswith(opening) and said.endswith('"'):
        return line
    return f'{line[:start]}{opening}{said}"'
