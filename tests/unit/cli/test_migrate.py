"""`live-memory migrate`, over a folder that an older tool's bucket was copied into."""

from pathlib import Path

from typer.testing import CliRunner

from app.cli.main import app
from tests.contract.old_buckets import TOKENS, bucket_of_0_2

RUN = CliRunner()


def copied(folder: Path) -> Path:
    """The bucket as files."""
    for key, body in bucket_of_0_2().items():
        path = folder / "objects" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return folder


def test_a_dry_run_then_the_run_then_nothing(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    tokens = folder / "objects" / "_system" / "tokens"

    dry = RUN.invoke(app, ["migrate", "--dry-run", "--data-dir", str(folder)])
    assert dry.exit_code == 0, dry.output
    assert "would run: 0001_initial_layout\n" in dry.stdout
    assert dry.stdout.count("  create _system/tokens/") == len(TOKENS)
    assert not tokens.exists()

    done = RUN.invoke(app, ["migrate", "--data-dir", str(folder)])
    assert (done.exit_code, done.stdout) == (0, "done: 0001_initial_layout\n")
    assert len(list(tokens.glob("*.json"))) == len(TOKENS)

    again = RUN.invoke(app, ["migrate", "--data-dir", str(folder)])
    assert (again.exit_code, again.stdout) == (0, "Nothing to do: the stored data is as this version reads it.\n")


def test_what_cannot_be_brought_up_is_a_failure(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "objects" / "_system" / "tokens.json").write_bytes(b"not JSON")

    failed = RUN.invoke(app, ["migrate", "--data-dir", str(folder)])

    assert failed.exit_code == 1
    assert "'_system/tokens.json' is not JSON." in failed.stderr


def test_wrong_settings_are_a_usage_error() -> None:
    refused = RUN.invoke(app, ["migrate"], env={"LIVE_MEMORY_STORE": "cupboard"})

    assert refused.exit_code == 2
