from typer.testing import CliRunner

from app.cli.fake_authors import AUTHORS
from app.cli.fake_moods import Mood
from app.cli.main import app


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["fake-llm", *arguments], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def test_the_command_is_listed() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "fake-llm" in said
    assert "scripted OpenAI-compatible model" in said


def test_every_author_and_mood_is_told() -> None:
    status, said = run("--list")
    assert status == 0
    assert [name for name in (*AUTHORS, *(mood.value for mood in Mood)) if name not in said] == []


def test_a_name_that_is_none_is_refused() -> None:
    for option, name in (("--author", "nobody"), ("--mood", "sleepy")):
        status, said = run(option, name)
        assert status == 2
        assert name in said
