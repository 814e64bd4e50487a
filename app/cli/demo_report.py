"""How the demo looks on a terminal, in a log, and as a picture."""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.status import Status
from rich.table import Table
from rich.text import Text

from app.cli.demo_model import Share
from app.cli.demo_story import FOLDER, Round, Story

WIDTH: Final = 100
_EXCERPT: Final = 7
"""Lines of the bank that are shown."""
_FOREIGN: Final = re.compile(r"@font-face\s*\{[^}]*\}\s*|<!--.*?-->\s*", re.DOTALL)
"""Rich's pictures ask another host for a font, and name it; ours ask nobody for anything."""


class Report:
    """Tells the demo as it goes on."""

    def __init__(self, *, record: bool = False) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a note may hold what a poor terminal cannot show
        console = Console()
        self._console = Console(width=min(WIDTH, console.width), record=record, highlight=False)
        if record or not console.is_terminal:
            self._console.width = WIDTH
        self._status: Status | None = None

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show that something goes on, to somebody who looks at a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(f"{what} ...") as self._status:
            yield
        self._status = None

    def _next(self, what: str) -> None:
        if self._status is not None:
            self._status.update(f"{what} ...")

    def _heading(self, text: str) -> None:
        self._console.print(f"\n[bold cyan]{text}[/]")

    def service(self, story: Story) -> None:
        """The service runs, and who is going to use it."""
        served = "serves" if story.processes == 1 else f"serves with {story.processes} processes"
        without = "no key, no model, no configuration" if story.place == FOLDER else "no model"
        how = f"{story.model} files the notes" if story.model else without
        self._console.print(
            f"[bold]Live Memory[/] {served} from {escape(story.place)}: {escape(how)}.\n"
            f"MCP offers [bold]{len(story.tools)} tools[/], REST the same operations."
        )
        self._heading("Agents, each with a token of its own")
        faces = {face: [name for name, own in story.agents.items() if own == face] for face in ("MCP", "REST")}
        for face, names in faces.items():
            self._console.print(f"  [bold]{face:<4}[/]  {escape(', '.join(names))}")
        self._heading("Five rounds: everybody writes at once, then the notes are filed in the bank")
        self._next("round 1")

    def round(self, one: Round) -> None:
        """A round is over."""
        filed = one.consolidated
        self._console.print(
            f"  {one.number}  [bold]{one.notes:>3}[/] notes by {one.agents:>2} people"
            f" (MCP {one.over_mcp:>2}, REST {one.over_rest:>2}) in {one.writing:4.1f} s"
            f" → [bold green]{filed['notes_processed']:>3}[/] filed,"
            f" {filed['bank_files_created']} files new, {filed['bank_files_updated']} changed, {one.filing:4.2f} s"
        )
        self._next("going on")

    def bank(self, story: Story) -> None:
        """What an agent that knows nothing has read."""
        bank = story.bank
        self._heading(f"A newcomer calls bank_read_all once: {bank['file_count']} files, {bank['total_size']:,} bytes")
        table = Table(box=None, show_header=False, padding=(0, 2))
        table.add_column(justify="right", style="bold")
        for file in bank["files"]:
            table.add_row(f"{file['size']:,}", escape(file["filename"]))
        self._console.print(table)
        shown = max(bank["files"], key=lambda file: file["filename"] == "decisions.md")
        lines = [line for line in shown["content"].splitlines() if line.strip()]
        excerpt = Text("\n".join(_cut(line) for line in lines[:_EXCERPT]))
        self._console.print(Panel(excerpt, title=escape(shown["filename"]), title_align="left", border_style="dim"))
        self._provenance(story, shown["filename"])

    def _provenance(self, story: Story, path: str) -> None:
        if story.ledger is None:
            return
        content = next(file["content"] for file in story.bank["files"] if file["filename"] == path)
        for filing in story.ledger.filings:
            if filing.path == path and filing.sources and filing.text in content and "\n" not in filing.text.strip():
                section = " > ".join(filing.section)
                self._console.print("Where does a line come from?")
                self._console.print(Padding(Text(_cut(filing.text.strip())), (0, 2)))
                self._console.print(f"  [dim]file[/]  {escape(f'{path} > {section}')}, version {filing.version}")
                self._console.print(f"  [dim]note[/]  {escape(filing.sources[0])}", soft_wrap=True)
                return

    def search(self, story: Story) -> None:
        """What the search among the waiting notes found."""
        found = story.found
        self._heading(f"live_search '{found['query']}' in the notes not yet filed (round 5): {found['matched']} match")
        for note in found["notes"]:
            line = note["content"].splitlines()[0]
            self._console.print(Text(_cut(f"  {note['agent']}, {note['category']}: {line}")))
        self._next("backup and restore")

    def undo(self, story: Story) -> None:
        """What was undone, and what stayed."""
        if story.undo is None:
            return
        last, reverted = story.undo.last, story.undo.reverted
        waiting, kept = len(reverted["notes_requeued"]), len(reverted["notes_kept"])
        self._heading("Undo one version, and keep what came after it")
        self._console.print(
            f"  bank_diff       round 5 changed {len(last['files'])} files: {last['lines_added']} lines more,"
            f" {last['lines_removed']} less, {len(last['notes_filed'])} notes\n"
            f"  bank_revert     version {story.undo.version} is undone by version {reverted['version']}:"
            f" {waiting} notes wait again"
            + (f", {kept} are still cited" if kept else "")
            + f", {len(reverted['conflicts'])} conflicts"
        )

    def restore(self, story: Story) -> None:
        """What became of the backup."""
        backup = story.backup
        self._heading("Backup, delete, restore")
        self._console.print(
            f"  backup_create   {backup['files_backed_up']} files, {backup['total_size']:,} bytes\n"
            f"  space_delete    reading it now says: space_not_found\n"
            f"  backup_restore  {len(story.after)} files, history included, compared with those of before: "
            + ("[bold green]equal[/]" if story.before == story.after else "[bold red]different[/]")
        )

    def refusals(self, story: Story) -> None:
        """What the newcomer may not do."""
        self._heading("What the newcomer's token may not do: it has `read`, on this one space")
        table = Table(box=None, show_header=False, padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, style="dim")
        table.add_column(no_wrap=True, style="bold yellow")
        table.add_column()
        for one in story.refusals:
            table.add_row(one.attempt, one.face, one.code or "-", escape(one.message))
        self._console.print(table)

    def end(self, story: Story, *, kept: Path | None) -> None:
        """The totals, and every claim that did not hold."""
        self._console.print()
        for check in story.checks:
            if not check.holds:
                self._console.print(f"[bold red]FAILED[/]  {escape(check.claim)}")
        ledger = story.ledger
        filed = sum(ledger.filed.values()) if ledger else 0
        lost = len(ledger.lost(story.written)) if ledger else len(story.written)
        doubled = len(ledger.doubled()) if ledger else 0
        colour = "green" if story.is_true else "red"
        totals = f"{len(story.written)} notes written = {filed} notes filed, {lost} lost, {doubled} doubled"
        held = sum(check.holds for check in story.checks)
        self._console.print(
            f"[bold {colour}]{totals}[/]  ({held} of {len(story.checks)} checks, {story.seconds:.1f} s)",
            soft_wrap=True,
        )
        if story.model:
            share = Share.of(story)
            self._console.print(
                f"{share.notes} filed by the model, {share.extracted} word for word without it: {share.calls} calls,"
                f" {share.repairs} answers mended, {share.refused} edits refused,\n{share.tokens:,} tokens, which"
                f" would have cost {share.cost:.4f} at made-up prices",
                soft_wrap=True,
            )
        if kept is not None:
            self._console.print(Text(f"Kept in {kept}: live-memory serve --data-dir {kept}"), soft_wrap=True)

    def failed(self, reason: str) -> None:
        """The demo cannot go on."""
        Console(stderr=True, highlight=False).print(Text(f"live-memory: {reason}"), soft_wrap=True)

    def save(self, path: Path) -> None:
        """The whole report as a picture that needs nothing from anywhere."""
        picture = self._console.export_svg(title="live-memory demo", unique_id="demo")
        picture = _FOREIGN.sub("", picture).replace("Fira Code, monospace", "ui-monospace, Menlo, monospace")
        path.write_text(picture, encoding="utf-8")


def _cut(line: str) -> str:
    room = WIDTH - 6
    return line if len(line) <= room else line[: room - 1] + "…"
