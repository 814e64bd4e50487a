"""Which names a file of the bank may have."""

import re
from typing import Final

from app.bank.document.text import clean

_PATH: Final = re.compile(r"(?:[A-Za-z0-9\u00c0-\u024f][\w.-]{0,63}/){0,3}[A-Za-z0-9\u00c0-\u024f][\w.-]{0,63}\.md")
_DASHES: Final = dict.fromkeys([*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63, 0xFF0D], "-")


def bank_path(name: str) -> str | None:
    """A proposed file name as a legal path of the bank, or None when it cannot be one."""
    path = clean(name).strip().translate(_DASHES).removeprefix("bank/")
    # A folder called like a file could not stand beside it.
    return path if _PATH.fullmatch(path) and ".." not in path and ".md/" not in path else None
