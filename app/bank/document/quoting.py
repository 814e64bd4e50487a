"""Text of others as a prompt may show it: visible, and never to be taken for a mark of the prompt itself."""

import re
import unicodedata
from typing import Final

from app.bank.document.text import clean

SECTIONS: Final = ("RULES", "BANK", "SYNTHESIS", "NOTES", "TASK", "REPAIR")
"""Names of the parts of a prompt."""

_MARKER: Final = re.compile(
    rf"[\s\\]*(?:\[\s*(?:{'|'.join(SECTIONS)}|[sfn]\s*\d+)\s*\]|={{3,}}\s*f\s*\d|n\s*\d+\s*\||n\d+\s+\d{{4}}-\d\d-\d\d)",
    re.IGNORECASE,
)
_SUSPECT: Final = re.compile(r"^(?:[^\S\n]|\\)*+[\[=nN]", re.MULTILINE)
"""Begins every line of ASCII that can be a marker; most texts hold no such line at all. It looks no further than its
line: else a text of many blank ones would be gone through once for each of them."""
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_FRACTION_SLASH: Final = "\u2044"
_UP: Final = frozenset("0123456789+-\u2212=()")


def quoted(text: str, *, nfkc: bool = False) -> str:
    """The text without invisible characters, its look-alikes of markers shown with a leading backslash.

    With `nfkc` it is in that form, which some gateways demand: superscripts and fractions are written out first, since
    the form alone makes 102 of 10².
    """
    text = clean(text)
    if nfkc and not text.isascii():
        text = _written_out(text)
        while not unicodedata.is_normalized("NFKC", text):
            text = clean(unicodedata.normalize("NFKC", text))
    if text.isascii() and not _SUSPECT.search(text):
        return text
    return "\n".join("\\" + line if is_marker(line) else line for line in text.split("\n"))


def quoted_line(text: str, *, nfkc: bool = False) -> str:
    """The text on one line, for a place where a line break would begin something else."""
    return " ".join(quoted(" ".join(clean(text).split()), nfkc=nfkc).split())


def is_marker(line: str) -> bool:
    """Could a reader take the line for a mark of the prompt, whatever characters it is written with?"""
    if not line.isascii():
        line = "".join(
            character
            for character in unicodedata.normalize("NFKC", line)
            if unicodedata.category(character) not in {"Cf", "Cc", "Mn"}
        )
    return bool(_MARKER.match(line))


def _written_out(text: str) -> str:
    """Superscripts as `^2`, fractions as `1/2`."""
    return _NOT_ASCII.sub(_run_written_out, text).replace(_FRACTION_SLASH, "/")


def _run_written_out(match: re.Match[str]) -> str:
    run, text, at = match.group(), match.string, match.start()
    parts: list[str] = []
    raised = False
    for number, character in enumerate(run):
        kind, _, codes = unicodedata.decomposition(character).partition(" ")
        plain = "".join(chr(int(code, 16)) for code in codes.split()) if kind in {"<super>", "<fraction>"} else ""
        is_raised = kind == "<super>" and plain in _UP
        if kind == "<fraction>":
            before = run[number - 1] if number else text[at - 1 : at]
            parts.append((" " if before.isdigit() else "") + plain)
        elif is_raised:
            parts.append(plain if raised else "^" + plain)
        else:
            parts.append(character)
        raised = is_raised
    return "".join(parts)
