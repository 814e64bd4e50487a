"""One command for each operation, made from the table of operations: none can be forgotten, none can drift."""

import inspect
import keyword
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from app.cli.connection import DEFAULT_URL, Connection
from app.cli.table import Argument, Described, file_option, in_order, load

NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "system_health": ("health",),
    "system_about": ("about",),
    "admin_create_token": ("token", "create"),
    "admin_list_tokens": ("token", "list"),
    "admin_revoke_token": ("token", "revoke"),
    "admin_update_token": ("token", "update"),
    "admin_delete_token": ("token", "delete"),
    "admin_purge_tokens": ("token", "purge"),
    "admin_gc_notes": ("gc",),
    "system_whoami": ("whoami",),
}
"""Commands that are not called as their operation is: `space_create` is `space create` by itself."""
POSITIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "space_create": ("space_id",),
    "live_note": ("category", "content"),
    "live_search": ("query",),
    "admin_create_token": ("name",),
    "bank_compact": ("filename",),
}
"""Arguments that are no option although they are not part of the address."""
GROUPS: Final[Mapping[str, str]] = {
    "space": "A project's shared memory: its rules, its life and death.",
    "live": "Live notes: what agents jot down while they work.",
    "bank": "The bank: the Markdown files that the notes amount to.",
    "job": "Work that goes on by itself: a consolidation, for example.",
    "backup": "Frozen copies of spaces.",
    "token": "Who may call: tokens, what they may do and where.",
}
ORDER: Final = (
    "system_health", "system_about", "system_whoami",
    "space_create", "space_list", "space_info", "space_rules", "space_summary", "space_update", "space_update_rules",
    "space_export", "space_delete",
    "live_note", "live_read", "live_search", "bank_read", "bank_read_all", "bank_list", "bank_consolidate",
    "bank_history", "bank_diff", "bank_revert", "bank_note", "bank_write", "bank_delete", "bank_compact",
    "bank_repair",
)  # fmt: skip
"""How the help lists them; the others follow as the service declares them."""
SHORT: Final = {"description": "-d", "owner": "-o", "agent": "-a", "limit": "-l", "category": "-c"}
WITHOUT: Final[Mapping[tuple[str, str], str]] = {("space_create", "description"): ""}
"""What is sent for an argument that the service wants, and a person need not give."""
REMOTE: Final = "Connection"
OPERATIONS: Final = "Operations of a service"
_TYPES: Final[Mapping[str, Any]] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "strings": list[str], "json": str,
}  # fmt: skip

Url = Annotated[
    str | None,
    typer.Option(
        "--url", "-u", help="Address of the service (MCP_URL).", show_default=DEFAULT_URL, rich_help_panel=REMOTE
    ),
]
Bearer = Annotated[
    str | None,
    typer.Option(
        "--token", "-t", help="Token (MCP_TOKEN); other users see it in the list of processes.", rich_help_panel=REMOTE
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="File that holds the token (MCP_TOKEN_FILE).", rich_help_panel=REMOTE),
]
ProfileName = Annotated[
    str | None,
    typer.Option("--profile", "-p", help="Profile of `profile add` (LIVE_MEMORY_PROFILE).", rich_help_panel=REMOTE),
]
AsJson = Annotated[bool, typer.Option("--json", "-j", help="Write what the service answered, as JSON.")]


def words(name: str) -> tuple[str, ...]:
    """How the command of an operation is called: `bank_read_all` is `bank read-all`."""
    noun, _, rest = name.partition("_")
    return NAMED.get(name) or tuple(part for part in (noun, rest.replace("_", "-")) if part)


def parameter_of(name: str) -> str:
    """How a function calls an argument of that name: a word of Python's own gets a mark."""
    return f"{name}_" if keyword.iskeyword(name) else name


def add_commands(app: typer.Typer, operations: Sequence[Described] | None = None) -> None:
    """Add a command for each operation."""
    groups: dict[str, typer.Typer] = {}
    for operation in in_order(load() if operations is None else operations, ORDER):
        path = words(operation.name)
        parent = app
        if len(path) > 1:
            noun = path[0]
            if noun not in groups:
                groups[noun] = typer.Typer(help=GROUPS.get(noun, f"Operations on {noun}."), no_args_is_help=True)
                app.add_typer(groups[noun], name=noun, rich_help_panel=OPERATIONS)
            parent = groups[noun]
        panel = OPERATIONS if parent is app else None
        parent.command(path[-1], short_help=_escaped(operation.title), rich_help_panel=panel)(_command(operation))


def _command(operation: Described) -> Callable[..., None]:
    """The function that typer makes a command of: its signature is the operation's."""

    def command(ctx: typer.Context, **given: Any) -> None:  # noqa: ANN401 - each argument has a type of its own
        from app.cli.call import Request, perform  # noqa: PLC0415 - it brings the HTTP client

        request = Request(
            operation=operation,
            arguments=_arguments(operation, given),
            files={
                argument.name: path
                for argument in operation.arguments
                if (path := given.get(f"{argument.name}_file")) is not None
            },
            connection=_connection(ctx, given),
            as_json=given["as_json"],
            output=given.get("output"),
            force=given.get("force", False),
        )
        raise typer.Exit(perform(request))

    parameters = [
        _keyword("ctx", typer.Context),
        *_positional(operation),
        *_options(operation),
        *_common(operation),
    ]
    # Typer reads the signature as inspect does, and the types where typing.get_type_hints looks for them.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__name__ = operation.name
    paragraphs = [operation.title, *operation.description.split("\n\n")]
    command.__doc__ = _escaped("\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs if paragraph))
    return command


def _positional(operation: Described) -> list[inspect.Parameter]:
    arguments = {argument.name: argument for argument in operation.arguments}
    names = [argument.name for argument in operation.arguments if argument.place == "path"]
    return [
        _keyword(
            name,
            Annotated[
                str,
                typer.Argument(
                    help=_help(arguments[name]), show_default=False, autocompletion=_choices(arguments[name])
                ),
            ],
        )
        for name in (*names, *POSITIONAL.get(operation.name, ()))
    ]


def _options(operation: Described) -> list[inspect.Parameter]:
    found: list[inspect.Parameter] = []
    for argument in operation.arguments:
        if argument.place == "path" or argument.name in POSITIONAL.get(operation.name, ()):
            continue
        found.append(_option(operation, argument))
        if flag := file_option(operation.name, argument.name):
            told = f"File that holds the {argument.name}; - for standard input."
            option = typer.Option(flag, f"-{flag[2]}", help=told, show_default=False)
            found.append(_keyword(f"{argument.name}_file", Annotated[Path | None, option], None))
    return found


def _option(operation: Described, argument: Argument) -> inspect.Parameter:
    flag = f"--{argument.name.replace('_', '-')}"
    if argument.type == "boolean":
        if argument.name == "confirm" and operation.needs_confirmation:
            names = [flag, "--yes", "-y"]
        else:
            names = [f"{flag}/--no-{flag.removeprefix('--')}"] if argument.default else [flag]
        option = typer.Option(*names, help=_help(argument), show_default=False)
        return _keyword(argument.name, Annotated[bool, option], bool(argument.default))
    is_required = (
        argument.required
        and not file_option(operation.name, argument.name)
        and (operation.name, argument.name) not in WITHOUT
    )
    option = typer.Option(
        *(flag, *filter(None, [SHORT.get(argument.name)])),
        help=_help(argument),
        show_default=str(argument.default) if argument.default not in (None, "") else False,
        autocompletion=_choices(argument),
    )
    kind = _TYPES[argument.type]
    if is_required:
        return _keyword(argument.name, Annotated[kind, option])
    return _keyword(argument.name, Annotated[kind | None, option], None)


def _common(operation: Described) -> list[inspect.Parameter]:
    found = []
    if operation.is_archive:
        target = typer.Option("--output", "-o", help="File to write; by default NAME.tar.gz, - for standard output.")
        found.append(_keyword("output", Annotated[str | None, target], None))
        force = typer.Option("--force", "-f", help="Write over a file that exists.")
        found.append(_keyword("force", Annotated[bool, force], default=False))
    found.append(_keyword("as_json", AsJson, default=False))
    for name, option in {"url": Url, "bearer": Bearer, "token_file": TokenFile, "profile": ProfileName}.items():
        found.append(_keyword(name, option, None))
    return found


def _keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:  # noqa: ANN401 - inspect takes anything
    return inspect.Parameter(parameter_of(name), inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _arguments(operation: Described, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was typed; for what was not, the service's own default holds."""
    found: dict[str, Any] = {}
    for argument in operation.arguments:
        value = given.get(parameter_of(argument.name))
        if value is None or value == []:
            if (operation.name, argument.name) in WITHOUT:
                found[argument.name] = WITHOUT[operation.name, argument.name]
            continue
        if argument.type == "boolean" and value == bool(argument.default):
            continue
        found[argument.name] = _value(argument, value)
    return found


def _value(argument: Argument, value: Any) -> Any:  # noqa: ANN401 - each argument has a type of its own
    if argument.type != "json":
        return value
    import json  # noqa: PLC0415 - only few operations take structured values

    try:
        return json.loads(value)
    except ValueError as error:
        raise typer.BadParameter(f"--{argument.name} is not JSON ({error}).") from None


def _connection(ctx: typer.Context, given: Mapping[str, Any]) -> Connection:
    options = Connection(given["url"], given["bearer"], given["token_file"], given["profile"])
    return options.over(ctx.obj if isinstance(ctx.obj, Connection) else None)


def _choices(argument: Argument) -> Callable[[str], list[str]] | None:
    """What the shell may complete; the service alone says what is accepted."""
    if not argument.choices:
        return None

    def matching(incomplete: str) -> list[str]:
        return [choice for choice in argument.choices if choice.startswith(incomplete)]

    return matching


def _help(argument: Argument) -> str:
    known = f" One of {', '.join(argument.choices)}." if argument.choices else ""
    stdin = " - reads it from standard input." if argument.name == "content" else ""
    return _escaped(argument.description + known + stdin)


def _escaped(text: str) -> str:
    """The text, which typer must not take for markup."""
    return text.replace("[", "\\[")
