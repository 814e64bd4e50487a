"""`live-memory fake-llm`: a model for trying things out, which costs nothing and fails on demand."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer


def fake_llm(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any free one.", min=0, max=65535)] = 8500,
    author: Annotated[str, typer.Option(help="Who writes the answers; see --list.")] = "perfect",
    mood: Annotated[str, typer.Option(help="How the first requests are treated, separated by commas.")] = "",
    repeat: Annotated[bool, typer.Option("--repeat", help="Begin the moods again after the last one.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List the authors and the moods, and do nothing else.")] = False,
) -> None:
    """Serve a scripted OpenAI-compatible model, for LLMAAS_API_URL of a service that tries things out."""
    from app.cli.fake_authors import AUTHORS  # noqa: PLC0415 - the rest of the command line does without it
    from app.cli.fake_llm import FakeEndpoint, nothing  # noqa: PLC0415 - likewise
    from app.cli.fake_moods import SENTENCES, Mood  # noqa: PLC0415 - likewise

    authors = {**AUTHORS, "nothing": nothing}
    if show:
        typer.echo("Authors: " + ", ".join(authors) + "\nMoods:")
        for one, sentence in SENTENCES.items():
            typer.echo(f"  {one.value:22}{sentence}")
        return
    if author not in authors:
        raise typer.BadParameter(f"there is no author '{author}': {', '.join(authors)}", param_hint="--author")
    try:
        moods = [Mood(name.strip()) for name in mood.split(",") if name.strip()]
    except ValueError as error:
        raise typer.BadParameter(f"{error}; --list shows them all", param_hint="--mood") from None
    script: list[Mood] | Callable[..., Mood] = moods
    if repeat and moods:

        def script(number: int, _received: object) -> Mood:
            return moods[number % len(moods)]

    endpoint = FakeEndpoint(script, authors[author])

    async def serve() -> None:
        async with endpoint.serving(host=host, port=port) as url:
            typer.echo(f"LLMAAS_API_URL={url} LLMAAS_API_KEY=any LLMAAS_MODEL=fake")
            await asyncio.get_running_loop().create_future()

    try:
        asyncio.run(serve())
    except OSError as error:
        typer.echo(f"live-memory: cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}.", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit from None
