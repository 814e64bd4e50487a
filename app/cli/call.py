"""One command that calls one operation: from what was typed to the exit status."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from app.cli.archives import destination
from app.cli.client import Answer, Client, Exit, Refused
from app.cli.connection import Connection, Target, resolve
from app.cli.consolidate import INTERRUPTED, Left, consolidate
from app.cli.events import Event, follow
from app.cli.profiles import Unusable
from app.cli.render import Screen
from app.cli.render import size as shown_size
from app.cli.table import Described, file_option
from app.cli.views import failure, show

LONG: Final = 60.0
"""An operation that may take longer than this shows that it is at work."""
STANDARD_INPUT: Final = "-"
_ADVICE: Final = {
    Exit.UNAUTHENTICATED: "Give a token with --token-file, MCP_TOKEN, MCP_TOKEN_FILE or a profile.",
    Exit.LIMITED: "Wait a moment, then repeat the command.",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed."""

    operation: Described
    arguments: Mapping[str, Any]
    """What goes to the service; what was not typed is not in it, so that the service's own default holds."""
    files: Mapping[str, Path]
    """Arguments whose text is in a file."""
    connection: Connection
    as_json: bool = False
    output: str | None = None
    """File for an archive."""
    force: bool = False


def perform(request: Request, screen: Screen | None = None) -> int:
    """Carry out the command, and return its exit status."""
    screen = screen or Screen()
    try:
        arguments = _texts(request)
        target = resolve(request.connection)
        arguments = _confirmed(request.operation, arguments, target)
        if target.is_local_key and request.operation.permission != "public":
            screen.note(f"using the administrator's key in {target.token_from}")
        with Client(target) as client:
            if request.operation.is_archive and not request.as_json:
                return _archive(client, request, arguments, screen)
            if request.operation.is_stream:
                return _stream(client, request, arguments, screen)
            return _call(client, request, arguments, screen)
    except Unusable as fault:
        screen.fail(str(fault))
        return Exit.USAGE
    except Refused as refused:
        return refuse(refused, screen, as_json=request.as_json)
    except Left as left:
        screen.note(f"Job {left.job_id} goes on. `live-memory job get {left.job_id}` tells how far it is,")
        screen.note(
            f"`live-memory job events {left.job_id}` follows it, `live-memory job cancel {left.job_id}` stops it."
        )
        return INTERRUPTED


def refuse(refused: Refused, screen: Screen, *, as_json: bool) -> int:
    """Tell why the call did not succeed, and return the exit status."""
    if as_json and refused.body:
        screen.document(refused.body)
    named = ", ".join(filter(None, (refused.code, f"request {refused.request_id}" if refused.request_id else "")))
    screen.fail(f"{refused.message}{f' ({named})' if named else ''}")
    told = [(field, message) for field, message in refused.faults if message not in refused.message]
    for field, message in told:
        screen.note(f"{field}: {message}")
    if advice := _ADVICE.get(refused.exit):
        screen.note(advice)
    return refused.exit


def _call(client: Client, request: Request, arguments: Mapping[str, Any], screen: Screen) -> int:
    operation = request.operation
    if request.as_json and operation.is_archive and screen.is_terminal:
        raise Unusable("With --json the archive comes in base64, which is not for the terminal: redirect it.")
    answer = _answer(client, operation, arguments, screen)
    if request.as_json:
        screen.document(answer.raw)
    else:
        show(screen, operation.name, answer.body)
    if said := failure(answer.body):
        screen.warn(said)
        return Exit.UNAVAILABLE if answer.body.get("status") == "degraded" else Exit.UNEXPECTED
    return Exit.DONE


def _answer(client: Client, operation: Described, arguments: Mapping[str, Any], screen: Screen) -> Answer:
    if operation.failures and arguments.get("wait", True) and not arguments.get("dry_run"):
        return consolidate(client, operation, arguments, screen)
    if operation.timeout <= LONG:
        return client.call(operation, arguments)
    with screen.working(operation.title.rstrip(".")):
        return client.call(operation, arguments)


def _stream(client: Client, request: Request, arguments: Mapping[str, Any], screen: Screen) -> int:
    for event in follow(client, str(arguments["job_id"]), after=int(arguments.get("after", 0))):
        if request.as_json:
            screen.document(_line(event), indented=False)
        else:
            screen.event(event.at, event.name, event.data)
    return Exit.DONE


def _line(event: Event) -> bytes:
    told = {"id": event.number, "event": event.name, "at": event.at, **event.data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def _archive(client: Client, request: Request, arguments: Mapping[str, Any], screen: Screen) -> int:
    [name] = [str(arguments[one.name]) for one in request.operation.arguments if one.place == "path"]
    with destination(request.output, f"{name.replace('/', '-')}.tar.gz", force=request.force) as written:  # noqa: SIM117 - one thing after the other
        with client.archive(request.operation, arguments) as download, screen.receiving(name) as received:
            for piece in download.pieces:
                written.write(piece)
                received.add(len(piece))
    if written.name:
        screen.say(f"{written.name} ({shown_size(written.size)})", "green")
    return Exit.DONE


def _texts(request: Request) -> dict[str, Any]:
    """The arguments, those from a file or from standard input read."""
    arguments = dict(request.arguments)
    if arguments.get("content") == STANDARD_INPUT:
        arguments["content"] = _text(Path(STANDARD_INPUT))
    for name, path in request.files.items():
        if name in arguments:
            raise Unusable(f"--{name} and {file_option(request.operation.name, name)} are both given; keep one.")
        arguments[name] = _text(path)
    for argument in request.operation.arguments:
        if argument.required and argument.name not in arguments:
            file = file_option(request.operation.name, argument.name)
            raise Unusable(f"Give --{argument.name} TEXT, or {file} PATH (- for standard input).")
        value = arguments.get(argument.name)
        if isinstance(value, str) and not _is_unicode(value):
            raise Unusable(f"{argument.name}: the text is not UTF-8.")
    return arguments


def _text(path: Path) -> str:
    try:
        content = sys.stdin.buffer.read() if str(path) == STANDARD_INPUT else path.read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unusable(f"'{path}' is not UTF-8 text.") from None
    except OSError as error:
        raise Unusable(f"'{path}' cannot be read ({error.strerror or type(error).__name__}).") from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _confirmed(operation: Described, arguments: dict[str, Any], target: Target) -> dict[str, Any]:
    """The arguments with the consent of a person: asked at the terminal, otherwise demanded."""
    if not operation.needs_confirmation or arguments.get("confirm"):
        return arguments
    what = " ".join(str(arguments[one.name]) for one in operation.arguments if one.place == "path")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Unusable(f"{operation.title.rstrip('.')} ({what}): this cannot be undone, repeat it with --confirm.")
    if not typer.confirm(f"{operation.title.rstrip('.')}: {what!r} at {target.url}?", err=True):
        raise Unusable("Nothing was done.")
    return {**arguments, "confirm": True}
