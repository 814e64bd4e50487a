"""The command `live-memory`. What is heavy is imported by the command that needs it, so `--help` answers at once."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.commands import Bearer, ProfileName, TokenFile, Url, add_commands
from app.cli.connection import Connection
from app.cli.fake_command import fake_llm
from app.cli.profile_commands import add_profile_commands

app = typer.Typer(
    name="live-memory",
    help="Shared working memory for AI agents, over REST and MCP.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
exports = typer.Typer(help="Write what the service says about itself into files.", no_args_is_help=True)
app.add_typer(exports, name="export")


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer passes an option's value by position
    if value:
        from app import __version__  # noqa: PLC0415 - only when asked for

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    ctx: typer.Context,
    *,
    url: Url = None,
    token: Bearer = None,
    token_file: TokenFile = None,
    profile: ProfileName = None,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Shared working memory for AI agents, over REST and MCP."""
    ctx.obj = Connection(url, token, token_file, profile)


@app.command()
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on (MCP_SERVER_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 for any free one (MCP_SERVER_PORT).")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the memory (LIVE_MEMORY_DATA_DIR).")] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Write the addresses here, as JSON, once serving.")] = None,
) -> None:
    """Start the service, and stop it with Ctrl-C or SIGTERM."""
    from app.cli.serve import serve as start  # noqa: PLC0415 - it brings the whole service

    raise typer.Exit(start(host=host, port=port, data_dir=data_dir, ready_file=ready_file))


@app.command()
def migrate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the memory (LIVE_MEMORY_DATA_DIR).")] = None,
) -> None:
    """Bring stored data up to this version, as every start does."""
    from app.cli.migrate import run as bring_up  # noqa: PLC0415 - it brings the whole service
    from app.core.settings import InvalidSetting, Settings  # noqa: PLC0415 - pydantic is slow to import

    try:
        settings = Settings.load(live_memory_data_dir=data_dir)
    except InvalidSetting as fault:
        typer.echo(f"live-memory: {fault}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(bring_up(settings, dry_run=dry_run))


@app.command()
def demo(
    *,
    notes: Annotated[int, typer.Option(min=5, max=1267, help="How many notes of the example are written.")] = 300,
    keep: Annotated[Path | None, typer.Option(help="Keep the memory in this empty folder.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the report into this file too, as a picture.")] = None,
    processes: Annotated[int, typer.Option(min=1, max=4, help="How many servers share the memory.")] = 1,
    s3: Annotated[bool, typer.Option("--s3", help="In the bucket of the S3 settings, which must be empty.")] = False,
    llm: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Let a scripted model file the notes: perfect, worst, or authors and moods of `fake-llm --list`, "
            "separated by commas.",
        ),
    ] = None,
) -> None:
    """Let several agents share a memory of their own, start to end, and check it."""
    from app.cli.demo import demo as play  # noqa: PLC0415 - it brings an MCP client
    from app.cli.demo_model import ScriptedModel, UnknownName  # noqa: PLC0415 - as above
    from app.core.settings import InvalidSetting, Settings  # noqa: PLC0415 - pydantic is slow to import

    try:
        settings = Settings.load(live_memory_store="s3") if s3 else None
        model = None if llm is None else ScriptedModel.named(llm)
    except UnknownName as fault:
        raise typer.BadParameter(str(fault), param_hint="--llm") from None
    except InvalidSetting as fault:
        typer.echo(f"live-memory: {fault}", err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(play(notes=notes, keep=keep, svg=svg, processes=processes, settings=settings, model=model))


app.command("fake-llm")(fake_llm)


@app.command()
def healthcheck(
    ctx: typer.Context,
    *,
    url: Annotated[str | None, typer.Option(help="Base address; by default this machine, MCP_SERVER_PORT.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 5.0,
) -> None:
    """Ask a running service whether it lives; the exit status tells."""
    from app.cli.healthcheck import check  # noqa: PLC0415 - only this command asks

    raise typer.Exit(check(url or ctx.obj.url, timeout=timeout))


@app.command()
def config() -> None:
    """Show the settings as this process understands them, secrets masked."""
    from app.core.settings import InvalidSetting, Settings  # noqa: PLC0415 - pydantic is slow to import

    try:
        settings = Settings.load()
    except InvalidSetting as fault:
        typer.echo(f"live-memory: {fault}", err=True)
        raise typer.Exit(2) from None
    for name, value in settings.shown().items():
        typer.echo(f"{name}={value}")


@app.command()
def doctor(
    ctx: typer.Context,
    *,
    url: Url = None,
    token: Bearer = None,
    token_file: TokenFile = None,
    profile: ProfileName = None,
    local: Annotated[bool, typer.Option("--local/--no-local", help="Look at the settings and the store here.")] = True,
    as_json: Annotated[bool, typer.Option("--json", "-j", help="Write JSON.")] = False,
) -> None:
    """Look at the settings, the store and the service, and say what to do about problems."""
    from app.cli.doctor import doctor as examine  # noqa: PLC0415 - it brings the stores

    connection = Connection(url, token, token_file, profile).over(ctx.obj)
    raise typer.Exit(examine(connection, local=local, as_json=as_json))


@app.command()
def shell(
    ctx: typer.Context,
    *,
    url: Url = None,
    token: Bearer = None,
    token_file: TokenFile = None,
    profile: ProfileName = None,
) -> None:
    """Type the commands of the operations one after the other."""
    from app.cli.shell import shell as converse  # noqa: PLC0415 - only this command talks

    raise typer.Exit(converse(Connection(url, token, token_file, profile).over(ctx.obj)))


@exports.command("openapi")
def export_openapi(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write into.")],
) -> None:
    """Write openapi.json, mcp-tools.json and OPERATIONS.md."""
    from app.cli.export import export  # noqa: PLC0415 - it brings the whole service

    for path in export(folder):
        typer.echo(str(path))


@exports.command("commands")
def export_commands(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")],
) -> None:
    """Write the table of operations that the command line is made from."""
    from app.cli.export import export_table  # noqa: PLC0415 - it brings the whole service

    typer.echo(str(export_table(path)))


add_commands(app)
add_profile_commands(app)


def run() -> None:
    """Run the command line."""
    app()
