from datetime import timedelta

import pytest

from app.cli.findings import Verdict as How
from app.cli.findings import is_well
from app.cli.s3_checks import findings, quantile
from app.storage.probe import Conditions, Verdict
from app.storage.s3 import ETagStyle
from app.storage.signatures import Signature


def verdict(conditions: Conditions, *problems: str, offset: timedelta | None = timedelta(0)) -> Verdict:
    winners = [1, 1, 1] if conditions is Conditions.FULL else [1, 2, 1]
    return Verdict(conditions, winners, winners, problems, ETagStyle.QUOTED, Signature.V4, offset)


def test_a_bucket_that_keeps_conditions_is_well() -> None:
    found = findings(verdict(Conditions.FULL))
    assert {one.verdict for one in found} == {How.OK}
    [conditions] = [one for one in found if one.name == "conditional writes"]
    assert conditions.detail == "full; winners of the races: create 1, 1, 1, replace 1, 1, 1"


@pytest.mark.parametrize("conditions", [Conditions.CREATE_ONLY, Conditions.NONE])
def test_a_bucket_that_does_not_is_a_problem_with_advice(conditions: Conditions) -> None:
    found = findings(verdict(conditions, "Several can replace one version."))
    assert not is_well(found)
    assert all(one.advice for one in found if one.verdict is not How.OK)
    assert "Several can replace one version." in [one.detail for one in found]


def test_a_clock_that_is_far_away_is_warned_of() -> None:
    def clock(offset: timedelta | None) -> list[How]:
        found = findings(verdict(Conditions.FULL, offset=offset))
        return [one.verdict for one in found if one.name == "store's clock"]

    assert clock(timedelta(seconds=-2)) == [How.OK]
    assert clock(timedelta(minutes=-2)) == [How.WARNING]
    assert clock(None) == []


def test_quantiles() -> None:
    assert quantile([3, 1, 2], 50) == 2
    assert quantile(list(range(1, 101)), 95) == 95
    assert quantile([7], 95) == 7
