"""Which way imports go, and that a noun's inside is its own."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"
NOUNS = frozenset({"overview", "backups", "gc", "system", "bank", "notes", "spaces", "tokens", "jobs"})
OPEN = frozenset({"service", "models", "errors"})
"""What a noun shows to the packages around it."""

JOINED = frozenset({
    "service", "store", "index", "adoption", "automatic", "compaction", "consolidation", "dialogue", "document.rules",
    "leases", "ledger", "model.policy", "runs", "till", "turns", "versions.writer", "view",
})  # fmt: skip
"""What the composition root puts together."""

RELATIVE = "a relative import"

SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in APP.rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """Every module that the source may import by name; `from a import b` may mean the module `a.b`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom(level=level) if level:
                yield RELATIVE


def enters(path: str) -> frozenset[str]:
    """Which modules of a foreign noun the file may import; the composition root names the parts that it joins."""
    match path.split("/"):
        case ["app", "api" | "mcp" | "cli", *_]:
            return frozenset()
        case ["app", "catalogue.py"]:
            return frozenset({"operations"})
        case ["app", "bootstrap.py"]:
            return JOINED
        case _:
            return OPEN


def trespasses(path: str, source: str) -> list[str]:
    """The imports of the file that reach into the private part of somebody else's noun.

    A relative import hides where it leads, so it counts too.
    """
    home, allowed, found = Path(path).parts[1], enters(path), []
    for name in imported(source):
        match name.split("."):
            case ["app", noun, *inside] if noun in NOUNS and noun != home:
                if allowed.isdisjoint({".".join(inside[:1]), ".".join(inside[:2])}):
                    found.append(name)
            case [_] if name == RELATIVE:
                found.append(name)
    return found


def printed(source: str) -> bool:
    """Does the source call `print`?"""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        for node in ast.walk(ast.parse(source))
    )


@pytest.mark.parametrize("path", SOURCES)
def test_a_file_enters_another_noun_by_its_service_models_or_errors_and_a_transport_none(path: str) -> None:
    assert trespasses(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", [path for path in SOURCES if not path.startswith("app/cli/")])
def test_only_the_command_line_prints(path: str) -> None:
    assert not printed((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [path for path in SOURCES if path.endswith("/__init__.py")])
def test_a_package_says_one_sentence_and_exports_nothing(path: str) -> None:
    sentence, *rest = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    assert isinstance(sentence, ast.Expr), "the first statement is the docstring"
    if path == "app/__init__.py":
        assert [ast.unparse(statement).split(" = ")[0] for statement in rest] == ["__version__"]
    else:
        assert rest == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("app/bank/service.py", "from app.notes.store import NoteStore"),
        ("app/bank/service.py", "from app.notes import store"),
        ("app/bank/service.py", "import app.notes.index"),
        ("app/bank/service.py", "from app.notes.operations import operations"),
        ("app/bootstrap.py", "from app.spaces.operations import operations"),
        ("app/bootstrap.py", "from app.bank.model.validation import carry_out"),
        ("app/catalogue.py", "from app.spaces.store import SpaceStore"),
        ("app/mcp/bridge.py", "from app.notes.models import NoteCreate"),
        ("app/cli/demo.py", "from app.spaces.errors import SpaceNotFound"),
        ("app/notes/service.py", "from . import store"),
        ("app/overview/service.py", "import app.notes"),
    ],
)
def test_a_planted_trespass_is_seen(path: str, line: str) -> None:
    assert trespasses(path, line)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("app/bank/service.py", "from app.notes.service import NoteService"),
        ("app/bank/service.py", "from app.notes import service"),
        ("app/bank/service.py", "from app.bank.document.edits import apply"),
        ("app/bank/service.py", "from app.storage.document import Document"),
        ("app/catalogue.py", "from app.spaces.operations import operations"),
        ("app/bootstrap.py", "from app.bank.model.policy import Policy"),
    ],
)
def test_a_proper_import_is_no_trespass(path: str, line: str) -> None:
    assert trespasses(path, line) == []


def test_a_planted_print_is_seen() -> None:
    assert printed("def run() -> None:\n    print('done')")
    assert not printed("def run() -> None:\n    console.print('done')")


def test_the_newcomers_page_shows_every_file_that_is_not_in_every_noun() -> None:
    tree = (APP / "README.md").read_text(encoding="utf-8").split("## One way")[0]
    shown = set(re.findall(r"\b\w+\.py\b", tree))
    usual = {"__init__.py", "models.py", "errors.py", "store.py", "service.py", "operations.py"}
    present = {Path(path).name for path in SOURCES}
    assert present - usual <= shown, "a file that the page does not show"
    assert shown <= present, "the page shows a file that is not there"


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    linter = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(linter), "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False, timeout=100
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources, where a test may spoil them."""
    shutil.copytree(APP, tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_import_contracts_are_kept() -> None:
    checked = lint_imports(ROOT)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("app/core/clock.py", "from app.storage import keys", "Data flows one way"),
        ("app/spaces/service.py", "import app.tokens.service", "Data flows one way"),
        ("app/spaces/models.py", "import app.spaces.store", "Every noun has the same inside"),
        ("app/api/__init__.py", "import app.spaces.service", "Transports know operations, no noun"),
        ("app/storage/store.py", "import starlette", "Rules and storage know no web framework"),
        ("app/storage/keys.py", "import httpx", "Every outside library has its door"),
    ],
)
def test_a_planted_import_breaks_its_contract(copy: Path, path: str, line: str, contract: str) -> None:
    spoilt = copy / path
    spoilt.write_text(f"{spoilt.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    checked = lint_imports(copy)
    assert checked.returncode != 0
    assert f"{contract} BROKEN" in " ".join(checked.stdout.split())


def test_a_new_package_must_be_given_its_place(copy: Path) -> None:
    (copy / "app" / "events").mkdir()
    (copy / "app" / "events" / "__init__.py").write_text('"""What happened."""\n', encoding="utf-8")
    checked = lint_imports(copy)
    assert checked.returncode != 0
    assert "app.events" in checked.stdout
