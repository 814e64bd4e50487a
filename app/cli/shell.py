"""`live-memory shell`: the same commands, one after the other, without leaving."""

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import typer
from typer.main import get_command

from app.cli.commands import add_commands
from app.cli.connection import Connection, Target, resolve
from app.cli.profiles import Unusable, state_folder
from app.cli.table import Described

try:
    import readline
except ImportError:  # a Python without it: lines are read all the same
    readline = None  # type: ignore[assignment]

PROMPT: Final = "live-memory> "
HISTORY: Final = "history"
LENGTH: Final = 1000
_LEAVING: Final = frozenset({"exit", "quit"})
_SECRET: Final = re.compile(r"(?<!\S)(--token(?!-file)|-t)(?=[\s=]|\S)|lm_live_|bearer\s", re.IGNORECASE)
_USAGE: Final = 2
_INTERRUPTED: Final = 130


def shell(connection: Connection, operations: Sequence[Described] | None = None) -> int:
    """Read commands until there are no more, and return the exit status: at a terminal 0, else that of the last one."""
    try:
        target = resolve(connection)
    except Unusable as fault:
        typer.echo(f"live-memory: {fault}", err=True)
        return _USAGE
    commands = Commands(connection, operations)
    if not sys.stdin.isatty():
        return _script(commands)
    typer.echo(f"Connected to {target.url}. `help` lists the commands, `exit` leaves.")
    with _history(state_folder(os.environ), commands):
        _converse(commands, target)
    return 0


class Commands:
    """The commands of the operations, run one at a time."""

    def __init__(self, connection: Connection, operations: Sequence[Described] | None = None) -> None:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
        add_commands(app, operations)
        self._command: Any = get_command(app)
        self._connection = connection

    def run(self, line: str) -> int:
        """Carry out a line, and return the exit status; nothing that goes wrong ends the shell."""
        try:
            words = shlex.split(line)
        except ValueError as error:
            typer.echo(f"live-memory: {str(error).lower()}: close the quotation, or write \\' for a quote.", err=True)
            return _USAGE
        if words and words[0] in {"help", "?"}:
            words = [*words[1:], "--help"]
        if words and words[0] == "live-memory":
            words = words[1:]
        if not words:
            return 0
        try:
            self._command.main(words, prog_name="", obj=self._connection)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        except KeyboardInterrupt:
            return _INTERRUPTED
        return 0

    def completions(self, before: str, start: str) -> list[str]:
        """What may follow on a line: the next word of a command, or an option."""
        try:
            words = shlex.split(before)
        except ValueError:
            return []
        level: Any = self._command
        for word in words:
            children: Mapping[str, Any] = getattr(level, "commands", {})
            level = children.get(word, level)
        children = getattr(level, "commands", {})
        if children:
            known = [*children, *(("help", "exit") if level is self._command else ())]
        else:
            known = [name for parameter in level.params for name in parameter.opts if name.startswith("--")]
        return sorted(f"{name} " for name in known if name.startswith(start))


def is_secret(line: str, token: str | None) -> bool:
    """May the line hold a token? Then it is not kept."""
    return bool(_SECRET.search(line)) or bool(token and token in line)


def _script(commands: Commands) -> int:
    status = 0
    for line in sys.stdin:
        word = line.strip()
        if word in _LEAVING:
            break
        if word and not word.startswith("#"):
            status = commands.run(word)
    return status


def _converse(commands: Commands, target: Target) -> None:
    while True:
        try:
            line = input(PROMPT).strip()
        except KeyboardInterrupt:
            typer.echo("\n`exit` leaves.")
            continue
        except EOFError:
            typer.echo()
            return
        if line in _LEAVING:
            return
        if line:
            if readline is not None and not is_secret(line, target.token):
                readline.add_history(line)
            commands.run(line)


@contextlib.contextmanager
def _history(folder: Path, commands: Commands) -> Iterator[None]:
    """Earlier lines, kept for this user alone; without the right to keep them there are none."""
    if readline is None:
        yield
        return
    _set_up(readline, commands)
    path = folder / HISTORY
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            keep(readline, path)


def keep(lines: ModuleType, path: Path) -> None:
    """Write the history for this user alone: the file is so from its first byte."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    path.chmod(0o600)
    lines.set_history_length(LENGTH)
    lines.write_history_file(path)


def _set_up(lines: ModuleType, commands: Commands) -> None:
    lines.set_auto_history(False)
    lines.clear_history()
    lines.set_completer_delims(" \t\n")

    def complete(start: str, number: int) -> str | None:
        found = commands.completions(lines.get_line_buffer()[: lines.get_begidx()], start)
        return found[number] if number < len(found) else None

    lines.set_completer(complete)
    is_libedit = "libedit" in (lines.__doc__ or "")
    lines.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
