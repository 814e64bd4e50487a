"""What is shipped, and from which versions it is built."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "tests/requirements.lock"]
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?P<marker> ;[^\\]*)? \\$")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def entries(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each pin of a lock file, with its hashes."""
    pin, hashes = "", []
    for line in text.splitlines():
        if line.startswith("    --hash="):
            hashes.append(line.strip().removesuffix(" \\"))
        elif line and not line.lstrip().startswith("#"):
            if pin:
                yield pin, hashes
            pin, hashes = line, []
    if pin:
        yield pin, hashes


def pins(lock: str) -> dict[str, str]:
    """The version of each package that the lock file names."""
    found: dict[str, str] = {}
    for line, _ in entries((ROOT / lock).read_text(encoding="utf-8")):
        pin = PINNED.match(line)
        assert pin is not None, f"not an exact version: {line}"
        found[canonicalize_name(pin["name"])] = pin["version"]
    return found


def foreign_lines(text: str) -> list[str]:
    """The lines that say where packages come from: that is the affair of the machine that installs them."""
    return [
        line for line in text.splitlines() if "://" in line or re.match(r"\s*-(-(extra-)?index|-find|i\b|f\b)", line)
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_package_with_its_hashes(lock: str) -> None:
    assert pins(lock)
    for line, hashes in entries((ROOT / lock).read_text(encoding="utf-8")):
        assert hashes, f"no hash: {line}"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", value) for value in hashes)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place_to_download_from(lock: str) -> None:
    assert foreign_lines((ROOT / lock).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line", ["--index-url https://packages.example/simple", "-i mirror", "thing @ https://example"]
)
def test_a_planted_place_is_seen(line: str) -> None:
    assert foreign_lines(f"fastapi==0.165.0 \\\n{line}\n") == [line]


@pytest.mark.parametrize(
    ("lock", "declared"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements.lock", PROJECT["dependency-groups"]["build"]),
        ("tests/requirements.lock", [text for text in PROJECT["dependency-groups"]["dev"] if isinstance(text, str)]),
    ],
)
def test_what_is_declared_is_locked_within_its_bounds(lock: str, declared: list[str]) -> None:
    locked = pins(lock)
    for requirement in map(Requirement, declared):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


def test_the_developers_lock_is_the_services_lock_and_more() -> None:
    service, developer = pins("requirements.lock"), pins("tests/requirements.lock")
    assert service.items() < developer.items()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The names in the wheel, built from the checkout."""
    target = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    [path] = target.glob("*.whl")
    return frozenset(zipfile.ZipFile(path).namelist())


def test_the_wheel_holds_every_file_of_the_service(wheel: frozenset[str]) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "app").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= wheel


def test_the_wheel_holds_the_migrations_as_data(wheel: frozenset[str]) -> None:
    expected = {f"app/migrations/{path.name}" for path in (ROOT / "alembic-free-migrations").glob("*.*")}
    assert expected
    assert expected <= wheel


def test_the_wheel_holds_nothing_else(wheel: frozenset[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"app", "live_memory"}


def test_no_pipe_of_a_script_is_closed_before_its_writer_has_ended() -> None:
    scripts = [ROOT / ".ci" / "run", *sorted((ROOT / "deploy").glob("*.sh"))]
    strict = [text for one in scripts if "pipefail" in (text := one.read_text(encoding="utf-8"))]
    assert strict
    early = re.compile(r"\|\s*(?:head|grep\s+-\w*q)\b")
    assert [line for text in strict for line in text.splitlines() if early.search(line)] == []
    assert early.search("make --version | head -n 1"), "control: now and then this ends a script with status 141"
