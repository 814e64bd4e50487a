"""`live-memory profile`: several services by name."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from app.cli.connection import base_address, check_token, is_local, read_token
from app.cli.profiles import NAME, Configuration, Profile, Unusable

_USAGE: Final = 2
_STANDARD_INPUT: Final = "-"

Name = Annotated[str, typer.Argument(help="Name of the profile.", show_default=False)]


def add_profile_commands(app: typer.Typer) -> None:
    """Add `profile add`, `list`, `use` and `remove`."""
    profiles = typer.Typer(help="Several services by name, kept for this user alone.", no_args_is_help=True)
    app.add_typer(profiles, name="profile")
    profiles.command("add")(_add)
    profiles.command("list")(_list)
    profiles.command("use")(_use)
    profiles.command("remove")(_remove)


def _add(
    name: Name,
    *,
    url: Annotated[str, typer.Option("--url", "-u", help="Address of the service.")],
    token: Annotated[str | None, typer.Option("--token", "-t", help="Token; - reads it from standard input.")] = None,
    token_file: Annotated[Path | None, typer.Option("--token-file", help="File that holds the token.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Make it the default.")] = False,
) -> None:
    """Add a profile, or replace the one of that name."""
    with _Told():
        if not NAME.fullmatch(name):
            raise Unusable("A profile's name is 1 to 64 letters, digits, `-` and `_`.")
        if token is not None and token_file is not None:
            raise Unusable("--token and --token-file are both given; keep one.")
        if token == _STANDARD_INPUT:
            token = typer.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
        if token is not None:
            token = token.strip()
            check_token(token, "--token")
        if token_file is not None:
            token_file = token_file.absolute()
            read_token(token_file)
        profile = Profile(name, base_address(url, "--url"), token or "", str(token_file or ""))
        configuration = Configuration.load().with_profile(profile)
        if use:
            configuration = configuration.using(name)
        configuration.save()
        default = ", the default" if configuration.default == name else ""
        typer.echo(f"{name}: {profile.url}{default} ({configuration.path})")
        if profile.url.startswith("http://") and not is_local(profile.url):
            _say("the token of this profile travels unencrypted: prefer an https address.")


def _list(
    *,
    as_json: Annotated[bool, typer.Option("--json", "-j", help="Write JSON.")] = False,
) -> None:
    """List the profiles; tokens are not shown."""
    with _Told():
        configuration = Configuration.load()
        if as_json:
            listed = [
                {"name": one.name, "url": one.url, "token": _token(one), "default": one.name == configuration.default}
                for one in configuration.profiles.values()
            ]
            typer.echo(json.dumps({"profiles": listed, "file": str(configuration.path)}, ensure_ascii=False))
            return
        for one in configuration.profiles.values():
            mark = "*" if one.name == configuration.default else " "
            typer.echo(f"{mark} {one.name}  {one.url}  {_token(one)}")
        if not configuration.profiles:
            _say(f"there is no profile in {configuration.path}: `live-memory profile add NAME --url URL` makes one.")
        elif named := os.environ.get("LIVE_MEMORY_PROFILE"):
            _say(f"LIVE_MEMORY_PROFILE names '{named}' instead of the default.")


def _use(name: Name) -> None:
    """Make a profile the default."""
    with _Told():
        configuration = Configuration.load().using(name)
        configuration.save()
        typer.echo(f"{name}: {configuration.profile(name).url}, the default")


def _remove(name: Name) -> None:
    """Remove a profile, with the token it holds."""
    with _Told():
        Configuration.load().without(name).save()
        typer.echo(f"{name} is removed")


def _token(profile: Profile) -> str:
    return (
        "token kept here" if profile.token else f"token in {profile.token_file}" if profile.token_file else "no token"
    )


def _say(sentence: str) -> None:
    typer.echo(f"live-memory: {sentence}", err=True)


class _Told:
    """Ends the command with a sentence when it cannot be carried out."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, fault: BaseException | None, _traceback: object) -> None:
        if isinstance(fault, Unusable):
            _say(str(fault))
            raise typer.Exit(_USAGE) from None
