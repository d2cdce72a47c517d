"""What a figure came from: parts that add up to it, whatever is missing, and words for the rest."""

from math import fsum, isclose
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_collector.explain.decode import readable
from meterhouse_collector.explain.figure import explained
from meterhouse_collector.explain.model import Explanation, Line
from meterhouse_collector.explain.request import (
    ROWS,
    ExplainError,
    NoRowsError,
    check_name,
    groups,
    instant,
    period,
)
from meterhouse_collector.explain.sides import parse
from meterhouse_collector.explain.text import text
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.rollup.contributions import Contributions, contributions
from meterhouse_collector.rollup.pricing import Dues
from meterhouse_collector.rollup.rates import NO_RATES
from meterhouse_collector.rollup.roll_up import NOTHING_EXPECTED, roll_up
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.settlement.rates import RateBook
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site
from tests.collector.explaining import (
    EXPECTED,
    FLOWS,
    IT,
    IT_JOULES,
    LENGTH,
    SITE,
    START,
    engines,
    evidence,
    index,
    meters,
    nodes,
    rows,
    with_flows,
)

HERE = Path(__file__).parent
METERED, BARE = index(IT), index()
CORE = (
    "pue",
    "idle_capacity_ratio",
    "cost_per_million_output_tokens",
    "cost_per_million_tokens",
    "cost_per_million_computed_tokens",
)
fleets = st.builds(
    lambda gap, n, m, e: IntervalRows(
        START,
        LENGTH,
        {name: row for name, row in nodes().items() if name in n},
        {name: row for name, row in meters(gap).items() if name in m},
        {name: row for name, row in engines().items() if name in e},
    ),
    st.sampled_from([0, 5_000, 300_000]),
    st.sets(st.sampled_from(sorted(nodes()))),
    st.sets(st.sampled_from(sorted(meters()))),
    st.sets(st.sampled_from(sorted(engines()))),
)
expectations = st.sampled_from([NOTHING_EXPECTED, EXPECTED])
sites = st.sampled_from([METERED, BARE])


def parts_of(found: Contributions, name: str) -> float:
    return fsum(sums[name] for part in found.things.values() for sums in part.values())


def close(one: float, other: float) -> bool:
    return isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)


@settings(deadline=None, max_examples=50)
@given(fleets, expectations, sites, st.sampled_from([None, 1.25]))
def test_parts_of_things_add_up_to_every_field(
    interval: IntervalRows, expected: Expected, known: SiteIndex, energy: float | None
) -> None:
    rates = RateBook(known).at(START)
    found = contributions(interval, known, expected, rates, Dues(energy, demand=0.5, carbon=0.125))
    priced = contributions(interval, known, expected, rates)
    assert priced.groups == roll_up(interval, known, expected, rates)
    for name in ROLLUP_FIELD_NAMES:
        whole = fsum(sums[name] for sums in found.groups.values())
        assert close(parts_of(found, name), whole), name
    for name in ("serving_money", "serving_computed_money", "serving_drawn_joules"):
        whole = fsum(sums[name] for sums in found.groups.values())
        served = (sums[name] for part in found.serving_nodes.values() for sums in part.values())
        assert close(fsum(served), whole), name


@settings(deadline=None, max_examples=50)
@given(fleets, expectations, sites, st.sampled_from([{}, {"pool": "chat"}, {"tenant": "acme"}]))
def test_lines_add_up_to_both_sides_of_every_kpi(
    interval: IntervalRows, expected: Expected, known: SiteIndex, wanted: dict[str, str]
) -> None:
    for name in ROWS:
        read = evidence(known, interval, expected=expected)
        try:
            found = explained(name, read, known, wanted)
        except ExplainError:
            assert wanted
            continue
        assert close(fsum(line.numerator for line in found.things), _side(found, "numerator"))
        assert close(fsum(line.denominator for line in found.things), _side(found, "denominator"))
        for field in (*found.numerator.fields, *found.denominator.fields):
            assert close(
                fsum(line.fields.get(field.name, 0.0) for line in found.things), field.value
            )
        if found.value is not None:
            over, under = found.numerator.value, found.denominator.value
            assert close(found.value, found.scale * over / under), name


def _side(found: Explanation, side: str) -> float:
    shown = getattr(found, side)
    return parse(shown.expression).value({field.name: field.value for field in shown.fields})


@pytest.mark.parametrize("name", CORE)
def test_what_is_measured_stands_under_the_thing_that_was_measured(name: str) -> None:
    found = explained(name, evidence(METERED, rows(5_000)), METERED, {})
    assert "site" not in {line.kind for line in found.things}
    assert found.numerator.value > 0
    assert found.denominator.value > 0


def line(found: Explanation, kind: str, thing: str) -> Line:
    [only] = [line for line in found.things if (line.kind, line.thing) == (kind, thing)]
    return only


def test_water_heat_and_losses_stand_under_their_meters() -> None:
    known = index(IT, FLOWS)
    read = evidence(known, with_flows(rows()))
    brought = {
        "wue": ({"city": 30.0, "well": 18.0}, IT_JOULES),
        "erf": ({"heat": 4e5}, {"utility": 4.4e6, "campus": 3e5, "export": -1e5}),
        "ups_efficiency": ({"ups-out": 3.3e6}, {"ups-in": 3.5e6}),
    }
    for name, (over, under) in brought.items():
        found = explained(name, read, known, {})
        assert found.value is not None, (name, found.reason)
        numerators = {one.thing: one.numerator for one in found.things if one.numerator}
        assert numerators == pytest.approx(over, rel=1e-12)
        denominators = {one.thing: one.denominator for one in found.things if one.denominator}
        assert denominators == pytest.approx(under, rel=1e-12)


def test_a_gap_says_what_filled_it() -> None:
    found = explained("pue", evidence(METERED, rows(5_000)), METERED, {})
    pdu = line(found, "meter", "pdu-a")
    filled = 2400.0 * 5
    assert pdu.denominator == pytest.approx(2.1e6 * 895 / 900 + filled, rel=1e-12)
    assert pdu.covered_ratio == pytest.approx(895 / 900)
    assert (pdu.method, pdu.quality) == ("counter", "estimated")
    [note] = pdu.notes
    assert note.endswith("filled 12000 J by the last known 2400 W")
    assert line(found, "meter", "crac").denominator == -2e5
    assert line(found, "meter", "campus").numerator == 0.25 * 1.2e6
    assert line(found, "meter", "export").numerator == -1e5
    assert line(found, "meter", "utility").readers == ("facility-1",)


def test_what_is_silent_is_listed_and_has_lines() -> None:
    silenced = IntervalRows(START, LENGTH, {}, {}, {})
    found = explained("idle_capacity_ratio", evidence(METERED, silenced), METERED, {})
    assert found.silent == (
        *(f"meter {name}" for name in ("campus", "crac", "export", "pdu-a", "pdu-b", "utility")),
        *(f"node n{n}" for n in (1, 2, 3, 4)),
        "engine e1",
        "engine e2",
    )
    n3 = line(found, "node", "n3")
    assert n3.notes == ("silent: no row in this window",)
    assert (n3.covered_ratio, n3.fields["unknown_seconds"]) == (0.0, 4 * 900)
    assert found.value is None


def test_a_side_that_does_not_count_says_how_much_is_missing() -> None:
    found = explained("pue", evidence(METERED, rows(300_000)), METERED, {})
    [note] = [note for note in found.notes if note.startswith("the IT side")]
    # Two thirds of pdu-a were measured; the rest at its last known power; all four are expected.
    missing = 2400 * 300
    size = 1.4e6 + missing + 2e5 + 1.3e6
    assert f"{missing / size:.2%} of its expected energy is missing" in note
    assert line(found, "meter", "pdu-a").numerator == 0
    nothing = IntervalRows(START, LENGTH, {}, {}, {})
    found = explained("pue", evidence(METERED, nothing, expected=NOTHING_EXPECTED), METERED, {})
    assert "the IT side does not count: a branch has a gap of unknown size" in found.notes
    plate = line(found, "meter", "campus")
    assert plate.notes[1] == ("facility side, times 0.25; filled 72000000 J by its nameplate peak")


def test_a_group_is_that_group_alone() -> None:
    read = evidence(METERED, rows())
    found = explained("idle_capacity_ratio", read, METERED, {"pool": "spare"})
    assert [line.thing for line in found.things] == ["n4"]
    with pytest.raises(NoRowsError, match=r"no group has pool=x in .*pool: chat, none, spare"):
        explained("idle_capacity_ratio", read, METERED, {"pool": "x"})
    with pytest.raises(ExplainError, match="pue is of the whole site"):
        explained("pue", read, METERED, {"pool": "chat"})
    assert explained("pue", read, METERED, {"site": "site"}).value is not None


def test_stored_sums_are_compared_and_a_difference_has_a_reason() -> None:
    read = evidence(METERED, rows())
    assert explained("pue", read, METERED, {}).stored.same
    other = roll_up(rows(5_000), METERED, EXPECTED, NO_RATES)
    differs = explained("pue", evidence(METERED, rows(), stored=other), METERED, {}).stored
    assert not differs.same
    assert any(note.startswith("it_joint_joules: stored ") for note in differs.notes)
    assert differs.notes[-1].startswith("no mark is open")
    marked = evidence(METERED, rows(), stored=other, stored_notes=("late rows",))
    assert explained("pue", marked, METERED, {}).stored.notes[0] == "late rows"
    lacking = explained("pue", evidence(METERED, rows(), stored=None), METERED, {}).stored
    assert not lacking.found


def test_money_has_its_entries_and_what_splits_them() -> None:
    found = explained("cost_per_million_tokens", evidence(METERED, rows()), METERED, {})
    money = found.money
    assert money is not None
    assert fsum(line.numerator for line in money.nodes) == pytest.approx(
        found.numerator.value, rel=1e-12
    )
    drawn = fsum(line.denominator for line in money.nodes)
    accrued = fsum(line.fields["serving_accrued_money"] for line in money.nodes)
    due = fsum(money.due_money.values())
    assert accrued + drawn / money.drawn_joules * due == pytest.approx(
        found.numerator.value, rel=1e-12
    )
    assert {(entry.kind, entry.name) for entry in money.accruals} == {
        ("capital", "M"),
        ("capital", "L"),
        ("operations", "staff shift"),
    }
    # 12 devices at 10 a day for a quarter of an hour.
    [capital] = [entry for entry in money.accruals if entry.name == "M"]
    assert capital.amount is not None
    assert float(capital.amount) == pytest.approx(12 * 10 * 900 / 86400)
    assert capital.split_by == "device-seconds of M in chat"


@pytest.mark.parametrize("name", ["pue", "idle_capacity_ratio", "cost_per_million_output_tokens"])
def test_the_text_is_this(name: str) -> None:
    found = explained(name, evidence(METERED, rows(5_000)), METERED, {})
    shown = text(found, 3)
    expected = (HERE / f"explain_{name}.txt").read_text("utf-8")
    assert shown == expected
    assert max(map(len, shown.splitlines())) <= 100


def test_json_has_all_of_it() -> None:
    found = explained("cost_per_million_tokens", evidence(METERED, rows(5_000)), METERED, {})
    assert msgspec.json.decode(msgspec.json.encode(found), type=Explanation) == found


def test_rows_have_names_for_their_columns() -> None:
    row = readable(nodes()["n1"])
    shares = row["shares"]
    assert isinstance(shares, list)
    assert shares[0]["holder"] == "engine:e1"
    assert shares[0]["milliseconds"]["held_idle"] == LENGTH * 500
    assert shares[0]["joules"]["unknown"] is None


@pytest.mark.parametrize(
    ("text_", "expected"),
    [
        ("2026-05-17T03:05", "2026-05-17T01:05:00Z"),
        ("2026-05-17 03:05", "2026-05-17T01:05:00Z"),
        ("2026-05-17T03:05+05:30", "2026-05-16T21:35:00Z"),
        ("2026-05-17T03:05Z", "2026-05-17T03:05:00Z"),
        ("2026-10-25T02:30+01:00", "2026-10-25T01:30:00Z"),
        ("now", "2026-01-01T00:00:00Z"),
    ],
)
def test_times(text_: str, expected: str) -> None:
    at = instant(text_, "Europe/Berlin", 1_767_225_600)
    assert period("interval", at, 1, "UTC").start_utc == expected


@pytest.mark.parametrize(
    ("text_", "fault"),
    [
        ("yesterday", "is no time"),
        ("2026-10-25T02:30", "is there twice: give 2026-10-25T02:30:00"),
        ("2026-03-29T02:30", "is skipped there"),
    ],
)
def test_times_that_are_none(text_: str, fault: str) -> None:
    with pytest.raises(ExplainError, match=fault):
        instant(text_, "Europe/Berlin", 0)


def test_a_window_over_a_change_of_clocks_is_told_as_it_is_read() -> None:
    last = period("quarter", 1_792_889_100 + 899, 900, "Europe/Berlin")
    assert last.local == "2026-10-25 02:45:00 CEST to 02:00:00 CET"


def test_names_and_groups_that_are_none() -> None:
    with pytest.raises(ExplainError, match="has the name peu: did you mean pue"):
        check_name("peu")
    with pytest.raises(ExplainError, match="--list shows them"):
        check_name("zzzzzzzzzzzz")
    assert groups(["pool=a=b", "tenant=acme"]) == {"pool": "a=b", "tenant": "acme"}
    for wrong in (["pool"], ["pool="], ["rack=1"]):
        with pytest.raises(ExplainError, match="give TAG=VALUE"):
            groups(wrong)
    with pytest.raises(ExplainError, match="given twice"):
        groups(["pool=a", "pool=b"])


def test_every_kpi_of_sums_can_be_explained() -> None:
    assert set(CORE) <= set(ROWS)
    for row in ROWS.values():
        for side in (row.numerator, row.denominator):
            assert set(parse(side).names) <= set(ROLLUP_FIELD_NAMES)
            signs = "".join(c for c in side if c in "+-")
            assert len(parse(side).terms) == len(signs) + 1


OUTAGE = """
[[contract]]
name = "sold"
side = "sold"
tenant = "acme"
counterparty = "Acme"
pools = ["chat"]
units = 12
rate = 1
excludes_planned = true
valid_from = 2026-05-01
outage = [
  { begins = 2026-05-28T20:35:00Z, ends = 2026-05-28T20:40:00Z, AGREED },
  { begins = 2026-05-29T20:35:00Z, ends = 2026-05-29T20:40:00Z, AGREED },
]
""".replace("AGREED", 'reason = "planned", agreed_by = "Acme"')


def test_delivery_names_the_outages_of_its_window_and_who_agreed() -> None:
    site = index(OUTAGE)
    found = explained("delivered_ratio", evidence(site, rows()), site, {})
    assert found.notes[-2:] == (
        (
            "sold: planned maintenance from 2026-05-28 22:35 +0200 to 2026-05-28 22:40 +0200, all"
            " units, agreed by Acme, is excluded by the contract"
        ),
        "this figure counts all of it as not delivered; a statement shows it without as well",
    )
    bought = explained("bought_delivered_ratio", evidence(site, rows()), site, {})
    assert not [note for note in bought.notes if "maintenance" in note]


def test_a_figure_by_states_names_who_said_that_nodes_were_down() -> None:
    site = index(
        """
[[downtime]]
nodes = ["n1"]
devices = 1
reason = "lost"
begins = 2026-05-28T20:00:00Z
said_by = "ticket 7"
"""
    )
    note = "n1: 1 of each lost from 2026-05-28 22:00 +0200 on, said by ticket 7"
    assert note in explained("availability", evidence(site, rows()), site, {}).notes
    assert note not in explained("pue", evidence(site, rows()), site, {}).notes


def test_a_landlord_s_pue_says_that_it_is_stated_and_of_which_energy() -> None:
    stated = (
        '[[colocation]]\nname = "hall"\ncommitted_kw = 10\nper_kw = 1\nper_kwh = 1\n'
        "landlord_pue = 1.5\nvalid_from = 2026-01-01\n"
    )
    site = SiteIndex(parse_site(SITE[: SITE.index("[[meter]]")] + stated, "site.toml"))
    interval = rows()._replace(nodes=dict.fromkeys(("n1", "n2", "n3", "n4"), nodes()["n1"]))
    found = explained("pue", evidence(site, interval), site, {})
    assert found.value == 1.5
    (note,) = (note for note in found.notes if "side" not in note)
    assert note.startswith("the value is what the landlord states: 6600000 J of facility energy")
    assert note.endswith(" for 4400000 J of IT energy")
