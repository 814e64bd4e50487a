"""What a person sees: tables, panels and sentences, in which nothing that others wrote can steer the terminal."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

from rich import box
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

PIPE_WIDTH: Final = 160
"""Columns of what is not written to a terminal, where nobody can widen the window."""
_UNSAFE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SECOND: Final = len("2026-01-31T18:05:00")


class Screen:
    """Where a command writes: results on standard output, everything else on standard error."""

    def __init__(
        self,
        output: TextIO | None = None,
        errors: TextIO | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        self._output = sys.stdout if output is None else output
        self.out = _console(self._output, environment)
        self.err = _console(sys.stderr if errors is None else errors, environment)

    @property
    def is_terminal(self) -> bool:
        """Does a person read the results as they come?"""
        return self.out.is_terminal

    @property
    def moves(self) -> bool:
        """Does a person look at a terminal that can draw over what it has shown?"""
        return self.err.is_terminal and not self.err.is_dumb_terminal

    def show(self, *things: RenderableType) -> None:
        """Write results."""
        for thing in things:
            self.out.print(thing)

    def say(self, sentence: str, style: str = "") -> None:
        """Write a line of the results."""
        self.out.print(Text(clean(sentence), style=style), soft_wrap=True)

    def note(self, sentence: str) -> None:
        """Tell something that is no result."""
        self.err.print(Text(f"live-memory: {clean(sentence)}", style="dim"), soft_wrap=True)

    def warn(self, sentence: str) -> None:
        """Tell something that the reader should act upon."""
        self.err.print(Text(f"live-memory: {clean(sentence)}", style="yellow"), soft_wrap=True)

    def fail(self, sentence: str) -> None:
        """Tell why it did not work."""
        self.err.print(Text(f"live-memory: {clean(sentence)}", style="bold red"), soft_wrap=True)

    def text(self, text: str, *, title: str = "", markdown: bool = False) -> None:
        """Show a text: framed for a person, as it is for a program."""
        if not self.is_terminal:
            self.raw(text.encode("utf-8", "replace"))
            return
        shown: RenderableType = Text(clean(text))
        if markdown:
            from rich.markdown import Markdown  # noqa: PLC0415 - it brings a parser, and few commands show Markdown

            shown = Markdown(clean(text), hyperlinks=False)  # an address is seen, not hidden behind words
        self.show(Panel(shown, title=Text(clean(title)), title_align="left", box=box.ROUNDED))

    def document(self, raw: bytes, *, indented: bool = True) -> None:
        """Show JSON: indented for a person unless a line is wanted, as it is for a program."""
        if self.is_terminal and not indented:
            self.say(json.dumps(json.loads(raw)))
        elif self.is_terminal:
            self.out.print_json(raw.decode("utf-8", "replace"), ensure_ascii=True)
        else:
            self.raw(raw)

    def raw(self, content: bytes) -> None:
        """Write bytes as they are, and the end of a line when they lack it."""
        line = content if content.endswith(b"\n") else content + b"\n"
        buffer = getattr(self._output, "buffer", None)
        if buffer is None:
            self._output.write(line.decode("utf-8", "replace"))
        else:
            self._output.flush()
            buffer.write(line)
        self._output.flush()

    def event(self, at: str, name: str, data: Mapping[str, Any]) -> None:
        """Write a line about something that happened, at once."""
        told = ", ".join(f"{key} {plain(value)}" for key, value in data.items() if value not in (None, "", [], {}))
        line = Text.assemble((instant(at), "dim"), "  ", (clean(name), "bold"), "  " if told else "", clean(told))
        self.out.print(line, soft_wrap=True)
        self.out.file.flush()

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """A sign of life and the time that passed, for a person who waits."""
        if not self.moves:
            yield
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=self.err, transient=True) as progress:
            progress.add_task(clean(what), total=None)
            yield

    @contextmanager
    def receiving(self, what: str) -> Iterator["Received"]:
        """The same for bytes that arrive."""
        if not self.moves:
            yield Received(None)
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.err, transient=True) as progress:
            progress.add_task(clean(what), total=None)
            yield Received(progress)

    @contextmanager
    def counting(self, what: str, noun: str) -> Iterator["Counted"]:
        """The same for work that counts: a bar once somebody has said how much there is to do."""
        if not self.moves:
            yield Counted(None)
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.err, transient=True) as progress:
            progress.add_task(clean(what), total=None, count="")
            yield Counted(progress, noun)


class Counted:
    """How much is done."""

    def __init__(self, progress: Progress | None, noun: str = "") -> None:
        self._progress = progress
        self._noun = noun

    def show(self, what: str, done: int, total: int | None) -> None:
        """Say what goes on, and how much of it is done; None: that is not known yet."""
        if self._progress is None:
            return
        count = "" if total is None else f"{done} of {counted(total, self._noun)}"
        task = self._progress.task_ids[0]
        self._progress.update(task, description=clean(what), completed=done, total=total, count=count)


class Received:
    """How much has arrived."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def add(self, size: int) -> None:
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0], size)


def _console(file: TextIO, environment: Mapping[str, str]) -> Console:
    reconfigure = getattr(file, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # a terminal that lacks a character must not end the command
    is_terminal = file.isatty()
    width = None if is_terminal or environment.get("COLUMNS") else PIPE_WIDTH
    return Console(file=file, markup=False, emoji=False, highlight=False, width=width, _environ=environment)


def clean(text: str) -> str:
    """The text without what would steer the terminal: control characters and marks that turn the direction."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def cell(value: object, style: str = "") -> Text:
    """A value in a table, on as many lines as it needs."""
    return Text(clean(plain(value)), style=style)


def plain(value: object) -> str:
    """A value as a person reads it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(plain(item) for item in value)
        case Mapping():
            return ", ".join(f"{name}: {plain(item)}" for name, item in value.items())
        case _:
            return str(value)


def excerpt(text: str, length: int) -> str:
    """The start of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def instant(text: str | None) -> str:
    """An instant to the second."""
    return (text or "")[:_SECOND].replace("T", " ")


def counted(count: int, noun: str) -> str:
    """So many of them."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(count: int) -> str:
    """Bytes, as a person reads them."""
    if count < 1024:  # noqa: PLR2004 - the unit itself
        return f"{count} B"
    number = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024:  # noqa: PLR2004 - the unit itself
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} TiB"


def table(*heads: str, rows: Sequence[Sequence[object]], numbers: Sequence[int] = ()) -> Table:
    """A table; `numbers` are the columns that are aligned to the right."""
    shown = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for position, head in enumerate(heads):
        shown.add_column(head, justify="right" if position in numbers else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(value if isinstance(value, Text) else cell(value) for value in row))
    return shown


def panel(title: str, facts: Mapping[str, object], style: str = "") -> Panel:
    """Facts about one thing, in a frame; a fact that is empty is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        shown = value if isinstance(value, Text) else cell(value)
        if shown.plain:
            grid.add_row(Text(name), shown)
    return Panel(grid, title=Text(clean(title)), title_align="left", border_style=style, expand=False, box=box.ROUNDED)


def generic(screen: Screen, body: Mapping[str, Any]) -> None:
    """Any answer: its plain values in a frame, and each list of objects as a table."""
    facts: dict[str, object] = {}
    tables: list[tuple[str, list[dict[str, Any]]]] = []
    for name, value in body.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            tables.append((name, value))
        else:
            facts[name] = value
    screen.show(panel("", facts))
    for name, items in tables:
        heads = list(dict.fromkeys(key for item in items for key in item))
        rows = [[item.get(head) for head in heads] for item in items]
        screen.say(name, "bold")
        screen.show(table(*heads, rows=rows))
