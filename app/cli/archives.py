"""Archives as files: whole or not there, and never over a file that somebody wants to keep."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from app.cli.profiles import Unusable

STANDARD_OUTPUT: Final = "-"


@dataclass
class Destination:
    """Where an archive goes."""

    file: BinaryIO
    name: str
    """The file's path; empty for standard output."""
    size: int = 0

    def write(self, piece: bytes) -> None:
        self.file.write(piece)
        self.size += len(piece)


def destination(output: str | None, usual: str, *, force: bool) -> "contextlib.AbstractContextManager[Destination]":
    """The file that the options name, or standard output.

    Raises:
        Unusable: the file exists already or cannot be written, or the terminal would get the bytes.
    """
    if output == STANDARD_OUTPUT:
        return _standard_output()
    path = Path(output) if output else Path(usual)
    if path.is_dir():
        path /= usual
    if path.exists() and not force:
        raise Unusable(f"'{path}' exists already: name another file with --output, or write over it with --force.")
    return _file(path, force=force)


@contextlib.contextmanager
def _standard_output() -> Iterator[Destination]:
    if sys.stdout.isatty():
        raise Unusable("An archive is not for the terminal: redirect the output, or name a file with --output.")
    sys.stdout.flush()
    yield Destination(sys.stdout.buffer, "")
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _file(path: Path, *, force: bool) -> Iterator[Destination]:
    """Written aside and put in its place at the end, so that an interrupted download leaves nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("xb") as file:
            yield Destination(file, str(path))
        if force:
            draft.replace(path)
        else:
            path.hardlink_to(draft)
    except FileExistsError:
        raise Unusable(f"'{path}' exists already: somebody else wrote it meanwhile.") from None
    except OSError as error:
        raise Unusable(f"'{path}' cannot be written ({error.strerror or type(error).__name__}).") from None
    finally:
        draft.unlink(missing_ok=True)
