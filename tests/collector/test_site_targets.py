"""Budgets, thresholds, contracts and the pipeline: what can be reached, and what is promised."""

from datetime import date

import pytest
from pydantic import ValidationError

from meterhouse_collector.site.contracts import CapacityContract, Coming
from meterhouse_collector.site.load import parse_site
from meterhouse_collector.site.most import most_burn, most_per_second
from meterhouse_collector.site.targets import BURNS, Scope
from tests.collector.sites import BASE, HEAD, faults, index

MONTH = 28 * 86_400
METER = '[[meter]]\nname = "utility"\nrole = "boundary"\npeak_watts = 10000.0\n'
TARIFF = "[[tariff]]\nper_kwh = 0.36\nvalid_from = 2026-01-01\n"
PRICED = BASE + METER + TARIFF
# Seven devices at 35,000 over five years, and 10 kW at 0.36 per kWh.
CAPITAL = 7 * 35_000 / (1825 * 86_400)
ENERGY = 10 * 0.36 / 3600


def threshold(text: str) -> str:
    return f'[[threshold]]\nname = "t"\n{text}\n'


def budget(amount: float, more: str = "") -> str:
    return f'[[budget]]\nname = "b"\namount = {amount}\nvalid_from = 2026-02-01\n{more}\n'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('kind = "idle"\nabove = 1.0', "threshold.0.above: found 1, allowed: 0 or more and below"),
        ('kind = "reclaimable_idle"\nabove = 1.5', "threshold.0.above: found 1.5, allowed: 0 or"),
        ('kind = "coverage"\nbelow = 0.0', "threshold.0.below: found 0, allowed: above 0 and at"),
        ('kind = "pue"\nabove = 0.9', "threshold.0.above: found 0.9, allowed: 1 or more"),
        ('kind = "pue"\nbelow = 1.0', "threshold.0.below: found 1, allowed: above 1"),
        ('kind = "ending"\nbelow = -1.0', "threshold.0.below: found -1, allowed: 0 or more"),
        (
            'kind = "idle"\nabove = 0.2\nclear = 0.3',
            "threshold.0.clear: found 0.3, allowed: at most 0.2, as it fires above that",
        ),
        (
            'kind = "headroom"\nbelow = 5000.0\nclear = 4000.0',
            "threshold.0.clear: found 4000, allowed: at least 5000, as it fires below that",
        ),
        ('kind = "demand"\nabove = 10000.0', "allowed: below 10000 W, the peak_watts"),
        ('kind = "idle"', "either above or below"),
        ('kind = "idle"\nabove = 0.5\nbelow = 0.1', "either above or below"),
        (
            'kind = "idle"\nabove = 0.5\nscope = { pool = "chat", tenant = "acme" }',
            "one of cluster, pool and tenant",
        ),
    ],
)
def test_threshold_that_cannot_be_reached_or_cleared_is_a_fault(text: str, fault: str) -> None:
    (found,) = faults(PRICED + threshold(text))
    assert fault in found


@pytest.mark.parametrize(
    "text",
    [
        'kind = "idle"\nabove = 0.2\nclear = 0.2\nfor = "10m"',
        'kind = "pue"\nabove = 1.5\nclear = 1.4',
        'kind = "demand"\nabove = 9999.0',
        'kind = "delivery"\nbelow = -7.0',
        'kind = "commitment"\nbelow = 0.8',
        'kind = "coverage"\nbelow = 1.0',
    ],
)
def test_threshold_that_can_be_reached_is_none(text: str) -> None:
    (found,) = parse_site(PRICED + threshold(text), "site.toml").threshold
    assert found.for_ == (600.0 if "for" in text else 300.0)


def test_idle_cost_above_all_that_the_site_can_cost_is_a_fault() -> None:
    most = (CAPITAL + ENERGY) * 3600
    kind = 'kind = "idle_cost"\n'
    parse_site(PRICED + threshold(f"{kind}above = {most * 0.99}"), "site.toml")
    (found,) = faults(PRICED + threshold(f"{kind}above = {most * 1.01}"))
    assert f"allowed: below {most:.6g} EUR per hour" in found


def test_most_is_capital_energy_operations_and_rent() -> None:
    known = index(PRICED)
    begins = known.model.instant(date(2026, 1, 1))
    assert most_per_second(known, Scope(), begins) == pytest.approx(CAPITAL + ENERGY)
    chat = most_per_second(known, Scope(pool="chat"), begins)
    assert chat == pytest.approx(CAPITAL * 3 / 7 + ENERGY)
    more = (
        '[[operations]]\nname = "o"\nkind = "staff"\namount = 280\nvalid_from = 2026-01-01\n'
        '[[contract]]\nname = "k"\nside = "bought"\ncounterparty = "x"\npools = ["spare"]\n'
        "units = 3\nrate = 2\nvalid_from = 2026-01-01\n"
    )
    most = most_per_second(index(PRICED + more), Scope(), begins)
    assert most == pytest.approx(CAPITAL + ENERGY + 280 / MONTH + 6 / 3600)


@pytest.mark.parametrize(
    ("component", "per_second"),
    [
        ('kind = "time_of_use"\nper_kwh = 0.36', 10 * 0.36 / 3600),
        ('kind = "tier"\nstep = [{ up_to_kwh = 9, per_kwh = 0.1 }, { per_kwh = 0.4 }]', 4 / 3600),
        ('kind = "demand"\nper_kw = 15', 150 / MONTH),
        ('kind = "contracted"\nper_kva = 2\nkva = 50', 100 / MONTH),
        ('kind = "fixed"\nper_month = 45', 45 / MONTH),
        ('kind = "export"\nper_kwh = 0.04', 0.0),
        (
            'kind = "series"\npoint = [{ begins = 2026-01-01T00:00:00Z, per_kwh = 0.2 }]',
            2 / 3600,
        ),
    ],
)
def test_most_of_a_tariff_is_that_of_its_dearest_hour(component: str, per_second: float) -> None:
    levy = '[[tariff.component]]\nkind = "levy"\nper_cent = 10\nof = ["x"]\n'
    text = (
        "[[tariff]]\nvalid_from = 2026-01-01\n[[tariff.component]]\n"
        f'name = "x"\n{component}\n{levy}'
    )
    known = index(HEAD + METER + text)
    most = most_per_second(known, Scope(), known.model.instant(date(2026, 1, 1)))
    assert most == pytest.approx(per_second * 1.1)


@pytest.mark.parametrize(
    "text",
    [
        PRICED.replace("peak_watts", "# "),
        PRICED.replace(TARIFF, ""),
        PRICED.replace('accelerator_model = "M"\nvendor', 'accelerator_model = "X"\nvendor'),
        PRICED + '[[carbon_price]]\nkind = "invoiced"\nper_tonne = 1\nvalid_from = 2026-01-01\n',
        PRICED.replace("per_kwh = 0.36", "")
        + '[[tariff.component]]\nkind = "series"\npath = "prices.csv"\n',
    ],
)
def test_where_the_model_does_not_bound_it_nothing_is_unreachable(text: str) -> None:
    known = index(text + budget(1, "burn = [{ factor = 1e9, long = '1h', short = '5m' }]"))
    assert most_burn(known, known.model.budget[0]) is None


def test_burn_above_nine_tenths_of_the_most_that_can_be_spent_is_a_fault() -> None:
    month = 31 * 86_400
    # Twice the even pace is the most: so 1.8 can be watched, and 1.81 cannot.
    amount = (CAPITAL + ENERGY) * month / 2
    watched = "burn = [{{ factor = {}, long = '1h', short = '5m' }}]"
    parse_site(PRICED + budget(amount, watched.format(1.79)), "site.toml")
    (found,) = faults(PRICED + budget(amount, watched.format(1.81)))
    assert found == (
        "site.toml: budget.0.burn.0.factor: found 1.81, allowed: at most 1.8, as the most that can"
        " be spent is 2 times the budget"
    )
    cash = budget(amount, watched.format(14.4) + '\nbasis = "cash"')
    parse_site(PRICED + cash, "site.toml")


def test_default_burns_are_those_of_a_spend_budget_and_never_a_fault() -> None:
    model = parse_site(PRICED + budget(1e9), "site.toml")
    assert model.budget[0].burn == BURNS
    assert [(b.factor, b.long, b.short) for b in BURNS] == [
        (2, 3600, 300),
        (1.25, 6 * 3600, 1800),
        (1.05, 3 * 86_400, 6 * 3600),
    ]


def contract(**more: object) -> CapacityContract:
    return CapacityContract.model_validate(
        {
            "name": "k",
            "side": "bought",
            "counterparty": "x",
            "pools": ["p"],
            "units": 8,
            "rate": 2,
            "valid_from": date(2026, 1, 1),
            **more,
        }
    )


def test_units_of_a_contract_follow_its_ramp_and_its_dates() -> None:
    ramp = [
        {"begins": date(2026, 2, 1), "units": 2},
        {"begins": date(2026, 4, 1), "units": 8},
    ]
    ramped = contract(ramp=ramp, valid_to=date(2027, 1, 1))
    days = [date(2026, 1, 15), date(2026, 2, 1), date(2026, 4, 1), date(2027, 1, 1)]
    assert [ramped.units_on(day) for day in days] == [0, 2, 8, 0]
    assert [contract().units_on(day) for day in (date(2025, 12, 31), date(2026, 1, 1))] == [0, 8]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"side": "sold"}, 'a tenant with side = "sold"'),
        ({"tenant": "acme"}, 'a tenant with side = "sold"'),
        ({"ramp": [{"begins": date(2025, 1, 1), "units": 1}]}, "ramp steps in the order"),
        (
            {
                "credit": [
                    {"below_ratio": 0.9, "credit_ratio": 0.1},
                    {"below_ratio": 0.95, "credit_ratio": 0.2},
                ]
            },
            "credits that rise",
        ),
        (
            {"promised": [{"said": date(2026, 2, 1), "due": date(2026, 3, 1)}] * 2},
            "promises in the order",
        ),
    ],
)
def test_contract_that_contradicts_itself_is_a_fault(more: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        contract(**more)


def test_slippage_is_from_the_first_promise_to_the_last_or_to_what_came() -> None:
    promised = [
        {"said": date(2026, 1, 1), "due": date(2026, 6, 1)},
        {"said": date(2026, 3, 1), "due": date(2026, 7, 1)},
    ]
    table = {"name": "p", "kind": "power", "promised": promised}
    waiting = Coming.model_validate(table)
    assert (waiting.slippage_days, waiting.to_production_days) == (30, None)
    stages = {"ordered": date(2026, 1, 5), "delivered": date(2026, 7, 11)}
    came = Coming.model_validate({**table, "stages": stages})
    assert came.slippage_days == 40
    assert [came.stage_on(day) for day in (date(2026, 1, 4), date(2026, 7, 1))] == [
        "planned",
        "ordered",
    ]
    runs = Coming.model_validate({**table, "stages": {**stages, "in_production": date(2026, 8, 1)}})
    assert runs.to_production_days == 21
    assert Coming(name="p", kind="permit").slippage_days is None
    with pytest.raises(ValidationError, match="stages reached in the order"):
        Coming.model_validate({**table, "stages": {**stages, "ordered": date(2026, 8, 1)}})
