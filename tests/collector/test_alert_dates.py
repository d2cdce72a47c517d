"""What ends and what comes late, by the dates of the site model."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from meterhouse_collector.alerts.conditions import dates
from meterhouse_collector.alerts.known import QuarterKnown
from meterhouse_collector.alerts.state import Observation
from meterhouse_collector.site.coming import Due, due_with_needs
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.targets import Threshold
from tests.collector.alerting import threshold, verdict
from tests.collector.collecting import index

TODAY = date(2026, 6, 1)
WATCH = threshold("ending", below=30.0)


def look(
    function: Callable[[Threshold, QuarterKnown], list[Observation]], watch: Threshold, *more: str
) -> dict[tuple[str, ...], Observation]:
    """Return what is seen on TODAY, by the labels but for the site."""
    model: SiteModel = index(*more).model
    at_seconds = model.instant(TODAY) + 3600
    found = function(watch, QuarterKnown(at_seconds=at_seconds, model=model))
    return {tuple(v for k, v in o.labels if k != "site"): o for o in found}


def tariff(begins: str, ends: date | None) -> str:
    until = "" if ends is None else f"\nvalid_to = {ends}"
    return f"\n[[tariff]]\nper_kwh = 0.2\nvalid_from = {begins}{until}"


@pytest.mark.parametrize(
    ("days", "does"), [(29, "fires"), (30, "clears"), (0, "fires"), (-3, "fires")]
)
def test_a_tariff_ends_in_so_many_days(days: int, does: str) -> None:
    [found] = look(dates.ending, WATCH, tariff("2026-01-01", TODAY + timedelta(days=days))).values()
    assert (found.value, verdict(found)) == (days, does)


def test_what_another_follows_does_not_end() -> None:
    ends = TODAY + timedelta(days=10)
    follows = tariff("2026-01-01", ends) + tariff(str(ends), None)
    assert look(dates.ending, WATCH, follows) == {}
    later = tariff("2026-01-01", ends) + tariff(str(ends), ends + timedelta(days=5))
    [found] = look(dates.ending, WATCH, later).values()
    assert found.value == 15


def test_what_is_long_over_is_not_missed() -> None:
    assert look(dates.ending, WATCH, tariff("2025-01-01", TODAY - timedelta(days=31))) == {}


def test_prices_contracts_and_certificates_end() -> None:
    found = look(
        dates.ending,
        WATCH,
        """
[[contract]]
name = "cloud"
side = "bought"
counterparty = "Cloud"
pools = ["chat"]
units = 2
rate = 2.0
valid_from = 2026-01-01
valid_to = 2026-06-11
[[hardware]]
accelerator_model = "h100"
vendor = "nvidia"
price_per_device = 25000
life = "1825d"
valid_to = 2026-06-21
[[token_price]]
served_model = "llama"
input_per_million = 1
output_per_million = 3
valid_from = 2026-01-01
valid_to = 2026-08-01
[[energy_source]]
name = "grid"
kind = "grid"
meters = ["utility"]
[[certificate]]
name = "go-2025"
energy_source = "grid"
mwh = 100
begins = 2026-01-01
ends = 2026-06-02
""",
    )
    assert {entry: o.value for entry, o in found.items()} == {
        ("cloud", "contract"): 10,
        ("h100", "hardware"): 20,
        ("llama", "token_price"): 61,
        ("grid", "certificate"): 1,
    }


def coming(*promised: tuple[str, str], more: str = "") -> str:
    told = ", ".join(f"{{ said = {said}, due = {due} }}" for said, due in promised)
    return f"""
[[pipeline]]
name = "racks"
kind = "power"
peak_watts = 100000.0
promised = [{told}]
{more}
"""


LATE = threshold("delivery", above=14.0)
SLIP, DUE = ("slippage", "racks", "pipeline"), ("overdue", "racks", "pipeline")


def verdicts(*more: str) -> dict[tuple[str, ...], tuple[float | None, str]]:
    return {k: (o.value, verdict(o)) for k, o in look(dates.delivery, LATE, *more).items()}


def test_a_delivery_that_slipped() -> None:
    first, second = ("2026-01-01", "2026-06-20"), ("2026-05-01", "2026-07-05")
    assert verdicts(coming(first)) == {SLIP: (0, "clears"), DUE: (-19, "clears")}
    assert verdicts(coming(first, second)) == {SLIP: (15, "fires"), DUE: (-34, "clears")}


def test_a_delivery_that_is_overdue_fires_from_the_first_day_on() -> None:
    assert verdicts(coming(("2026-01-01", "2026-05-31"))) == {
        SLIP: (1, "clears"),
        DUE: (1, "fires"),
    }
    # Without a word it has slipped by as many days as it is overdue.
    assert verdicts(coming(("2026-01-01", "2026-05-10")))[SLIP] == (22, "fires")


def test_what_was_delivered_is_late_no_more() -> None:
    delivered = "stages = { delivered = 2026-05-20 }"
    assert verdicts(coming(("2026-01-01", "2026-05-01"), more=delivered)) == {}
    due = f"{delivered}\nin_production_due = 2026-05-25"
    overdue = verdicts(coming(("2026-01-01", "2026-05-01"), more=due))
    assert overdue == {("overdue", "racks", "in_production"): (7, "fires")}
    done = "stages = { delivered = 2026-05-20, in_production = 2026-05-30 }"
    done += "\nin_production_due = 2026-05-25"
    assert verdicts(coming(("2026-01-01", "2026-05-01"), more=done)) == {}


def test_without_promises_nothing_is_late() -> None:
    assert verdicts(coming()) == {}


def test_an_increment_of_the_grid_connection_slips_too() -> None:
    table = """
[[grid_connection]]
name = "feed"
contracted_watts = 1000000.0
[[grid_connection.increment]]
name = "second"
watts = 500000.0
promised = [{ said = 2025-01-01, due = 2026-05-01 }, { said = 2026-01-01, due = 2026-12-01 }]
"""
    found = verdicts(table)
    assert found["slippage", "feed, second", "grid_connection"] == (214, "fires")


def test_a_contract_that_is_yet_to_begin_slips_too() -> None:
    table = """
[[contract]]
name = "cloud"
side = "bought"
counterparty = "Cloud"
pools = ["chat"]
units = 2
rate = 2.0
valid_from = 2026-09-01
promised = [{ said = 2025-01-01, due = 2026-07-01 }, { said = 2026-01-01, due = 2026-09-01 }]
"""
    found = verdicts(table)
    assert found["slippage", "cloud", "contract"] == (62, "fires")
    assert verdicts(table.replace("valid_from = 2026-09-01", "valid_from = 2026-05-01")) == {}


NEEDS = """
[[grid_connection]]
name = "feed"
contracted_watts = 1000000.0
[[grid_connection.increment]]
name = "second"
watts = 500000.0
promised = [{ said = 2026-01-01, due = 2026-09-01 }]
[[pipeline]]
name = "permit"
kind = "permit"
needs = ["second"]
promised = [{ said = 2026-01-01, due = 2026-07-01 }]
[[pipeline]]
name = "hall"
kind = "building"
stages = { delivered = 2026-05-01 }
[[pipeline]]
name = "unpromised"
kind = "network"
[[pipeline]]
name = "racks"
kind = "devices"
accelerator_model = "M"
needs = ["permit", "hall", "unpromised"]
promised = [{ said = 2026-01-01, due = 2026-08-01 }]
"""


def test_what_is_to_come_waits_for_all_that_it_needs() -> None:
    model = index(NEEDS).model
    dues = {coming.name: due_with_needs(model, coming) for coming in model.pipeline}
    assert dues == {
        "permit": Due(date(2026, 9, 1), "second"),
        "hall": Due(date(2026, 5, 1), None),
        "unpromised": None,
        # By way of the permit.
        "racks": Due(date(2026, 9, 1), "second"),
    }
    found = look(dates.delivery, LATE, NEEDS)
    waits = found["needs", "racks", "pipeline"]
    assert (waits.value, verdict(waits)) == (31, "fires")
    assert waits.reason == (
        "pipeline racks: promised for 2026-08-01, waits for second, due on 2026-09-01"
    )
