"""What must be written down is: every setting, every operation, every error, and what the version brings."""

import re
from pathlib import Path
from typing import Final

import pytest

from app import __version__
from app.catalogue import CATALOGUE
from app.core.settings import Settings

ROOT: Final = Path(__file__).parents[2]
OPERATIONS: Final = [one for noun in CATALOGUE for one in noun.declared]
SECRETS: Final = ("ADMIN_BOOTSTRAP_KEY", "S3_SECRET_ACCESS_KEY", "LLMAAS_API_KEY")


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def offered() -> dict[str, str]:
    """The variables of `.env.example`, and the value that each is shown with."""
    return dict(re.findall(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", read(".env.example"), re.MULTILINE))


def test_every_setting_is_in_the_example_and_nothing_else() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    assert offered().keys() == settings


def test_the_example_shows_the_defaults() -> None:
    defaults = Settings.for_tests().shown()
    assert {name: value for name, value in offered().items() if value != defaults[name]} == {}


def test_each_setting_has_its_sentence_above_it() -> None:
    lines = read(".env.example").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#?[A-Z][A-Z0-9_]+=", line):
            assert re.match(r"# .+\.$", lines[number - 1]), line


def test_no_secret_has_a_value_in_the_example() -> None:
    assert [offered()[name] for name in SECRETS] == ["", "", ""]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: str(one.name))
def test_every_operation_has_its_section_with_its_errors(operation: object) -> None:
    (one,) = [known for known in OPERATIONS if known is operation]
    page = read("openapi/OPERATIONS.md")
    section = page.split(f"### {one.name}\n", 1)[1].split("\n### ", 1)[0]
    assert one.title in section
    assert f"`{one.method} {one.plain_path}`" in section
    for error in one.errors:
        assert re.search(rf"{error.status} [^·]*`{error.code()}`", section), error
    assert "```sh\ncurl " in section


def test_every_setting_that_a_message_names_exists() -> None:
    known = {name.upper() for name in Settings.model_fields}
    for path in (ROOT / "app").rglob("*.py"):
        if path.is_relative_to(ROOT / "app" / "cli"):
            continue  # the commands have variables of their own, which the service never reads
        named = set(
            re.findall(r"\b((?:LIVE_MEMORY|MCP_SERVER|CONSOLIDATION|LLMAAS|S3)_[A-Z_]+)\b", path.read_text("utf-8"))
        )
        assert {name for name in named if not name.endswith("_")} <= known, path


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_shows_how_to_begin(command: str) -> None:
    assert command in read("README.md")


@pytest.mark.parametrize("page", ["README.md", "app/README.md", "CHANGELOG.md", "openapi/OPERATIONS.md"])
def test_what_a_page_links_to_is_there(page: str) -> None:
    folder = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(page))
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)", read("README.md"))) <= targets


def test_the_changelog_opens_with_this_version() -> None:
    versions = re.findall(r"^## \[([^\]]+)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert versions[1] == __version__
    assert re.search(
        rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d{{2}}-\d{{2}}$", read("CHANGELOG.md"), re.MULTILINE
    )
