from pathlib import Path

from app.cli.findings import Verdict, is_well, ok, problem, skipped, warning
from app.cli.local_checks import FEW_FILES, LOW, file_system, folder, space


def verdicts(path: Path) -> dict[str, Verdict]:
    return {finding.name: finding.verdict for finding in folder(path)}


def test_a_folder_that_works_is_well_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    found = verdicts(tmp_path)
    assert [found[name] for name in ("folder", "fsync", "flock", "link")] == [Verdict.OK] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["objects"]


def test_a_folder_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    found = verdicts(tmp_path / "a" / "b")
    assert found["folder"] is Verdict.OK
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    assert verdicts(tmp_path / "data") == {"folder": Verdict.PROBLEM}


def test_a_folder_that_cannot_be_written_is_a_problem() -> None:
    assert verdicts(Path("/proc")) == {"folder": Verdict.PROBLEM}


def test_a_file_system_of_several_machines_is_warned_of(tmp_path: Path) -> None:
    place = str(tmp_path.resolve())
    assert file_system(tmp_path / "data", {"/": "ext4", place: "nfs4"}).verdict is Verdict.WARNING
    assert file_system(tmp_path / "data", {"/": "nfs4", place: "ext4"}).verdict is Verdict.OK
    assert file_system(tmp_path / "data", {}).verdict is Verdict.SKIPPED


def test_a_disk_that_fills_up_is_warned_of() -> None:
    assert space(LOW, FEW_FILES, files=10**6).verdict is Verdict.OK
    assert space(LOW - 1, FEW_FILES, files=10**6).verdict is Verdict.WARNING
    assert space(LOW, FEW_FILES - 1, files=10**6).verdict is Verdict.WARNING
    assert space(LOW, 0, files=0).verdict is Verdict.OK, "some file systems do not count their files"


def test_only_a_problem_is_a_problem() -> None:
    fine = [ok("a", ""), warning("b", "", "Do this."), skipped("c", "")]
    assert is_well(fine)
    assert not is_well([*fine, problem("d", "", "Do that.")])
