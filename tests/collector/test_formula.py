"""The command ``formula``: what it prints, what it turns down, and the units it takes."""

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.formula import FormulaError, answer, full, inputs_of, listing
from meterhouse_collector.kpi.formulas import FORMULAS
from meterhouse_collector.kpi.units import QUANTITIES, factor, unit_of
from tests.collector.vectors import vectors


def command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "meterhouse_collector", "formula", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_command_prints_one_object() -> None:
    done = command("pue", stdin='{"facility_mwh": 0.125, "it_kwh": 100}')
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "name": "pue",
        "value": 1.25,
        "unit": "ratio",
        "reason": None,
    }


def test_command_says_each_fault_in_a_line_and_exits_with_2() -> None:
    done = command("pue", stdin='{"facility_kwh": "125", "water": 1}')
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        'facility_joules is "125": a number is needed',
        "it_joules: is missing",
        "water: is no input of this formula",
        "inputs of pue: facility_joules, it_joules, [battery_unmetered]",
    ]


@pytest.mark.parametrize(
    ("arguments", "stdin", "fault"),
    [
        ((), "{}", "the name of a formula is missing"),
        (("watts",), "{}", "no formula has the name watts"),
        (("--list", "watts"), "", "no formula has the name watts"),
    ],
)
def test_command_turns_down(arguments: tuple[str, ...], stdin: str, fault: str) -> None:
    done = command(*arguments, stdin=stdin)
    assert done.returncode == 2
    assert fault in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"facility_joules": NaN, "it_joules": 1}', "facility_joules"),
        ('{"facility_joules": 1e999, "it_joules": 1}', "facility_joules"),
        ('{"facility_joules": -1e400, "it_joules": 1}', "facility_joules"),
        ('{"facility_joules": 1, "facility_joules": 2, "it_joules": 1}', "given twice"),
        ('{"facility_joules": [1], "it_joules": 1}', "facility_joules"),
    ],
)
def test_what_is_no_number_is_a_fault(text: str, fault: str) -> None:
    with pytest.raises(FormulaError, match=fault):
        answer("pue", text)


def test_units_are_converted_inside_lists_of_objects() -> None:
    stages = [{"name": "ups", "input_kwh": 1, "output_wh": 950}]
    found = answer("power_path_losses", json.dumps({"stages": stages}))["value"]
    assert isinstance(found, dict)
    assert found["loss_joules"] == pytest.approx(180_000.0, rel=1e-12)
    stages[0]["output_joules"] = 1
    with pytest.raises(FormulaError, match=r"stages.0.output_joules: given twice"):
        answer("power_path_losses", json.dumps({"stages": stages}))


def test_an_unknown_input_inside_a_list_is_a_fault_with_its_place() -> None:
    stages = [{"name": "ups", "input_kwh": 1, "output_kwh": 1, "watts": 3}]
    with pytest.raises(FormulaError, match=r"stages.0.watts: is no input"):
        answer("power_path_losses", json.dumps({"stages": stages}))


def test_list_has_a_line_for_each_formula_with_its_inputs() -> None:
    done = command("--list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(FORMULAS)
    assert lines == list(listing())
    assert lines[1].split()[1:5] == ["ratio", "facility_joules", "it_joules", "[battery_unmetered]"]
    joint = next(line for line in lines if line.startswith("joint_pue"))
    assert "interval_seconds branches(name, side, joules, factor, category)" in joint


def variations(inputs: Any) -> Iterator[Any]:  # noqa: ANN401 - JSON in, JSON out
    """Return inputs with one of their numbers exchanged for one that makes trouble."""
    if isinstance(inputs, int | float) and not isinstance(inputs, bool):
        yield from (0, -1, 1e300, 1e-300)
    elif isinstance(inputs, dict | list):
        for place in inputs if isinstance(inputs, dict) else range(len(inputs)):
            for each in variations(inputs[place]):
                changed: Any = inputs.copy()
                changed[place] = each
                yield changed


def unsaid(value: Any) -> Iterator[Any]:  # noqa: ANN401 - JSON in, JSON out
    """Return each result without a value, but for entries that have a reason of their own."""
    if isinstance(value, dict):
        if not value.get("reason"):
            yield from (x for k, each in value.items() if k != "reason" for x in unsaid(each))
    elif isinstance(value, list):
        yield from (x for each in value for x in unsaid(each))
    elif value is None:
        yield value


def emptied(inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return inputs with one of their lists or objects without entries."""
    for name, value in inputs.items():
        if isinstance(value, list | dict):
            yield {**inputs, name: type(value)()}


@pytest.mark.parametrize("name", FORMULAS)
def test_whatever_is_put_in_a_number_or_a_reason_or_a_fault_comes_out(name: str) -> None:
    for vector in (vector for vector in vectors() if vector.formula == name):
        changed = itertools.islice(variations(vector.inputs), 40)
        for inputs in itertools.chain([vector.inputs], emptied(vector.inputs), changed):
            try:
                found = answer(name, json.dumps(inputs))
            except FormulaError:
                continue
            json.dumps(found, allow_nan=False)
            assert found["reason"] or not list(unsaid(found["value"])), inputs


@pytest.mark.parametrize("name", FORMULAS)
def test_each_formula_is_shown_in_full(name: str) -> None:
    text = "\n".join(full(name))
    assert "formula: " in text
    assert "source: " in text
    inputs = text.partition("inputs:")[2].partition("formula: ")[0]
    assert not re.search(r"float|Decimal|Sequence|Mapping|Literal|None|\bint\b", inputs)


def test_inputs_are_told_in_words_with_their_units() -> None:
    assert list(inputs_of(FORMULAS["take_or_pay"])) == [
        "delivered_hours: list of (number in hours)",
        "committed_hours: list of (number in hours)",
        "floor_ratio: number as a ratio",
        "price_money_per_hours: number in currency per hours",
        "model: continuous or discontinuous",
    ]
    pue = list(inputs_of(FORMULAS["pue"]))
    assert pue[-1] == "battery_unmetered: true or false, false unless given"
    (actual, *_) = inputs_of(FORMULAS["payback_seconds"])
    assert (
        actual == "flows: list of {at_seconds: number in seconds, flow_money: number in currency}"
    )


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        ('{"facility_kWh": 1, "it_mWh": 1}', "it_mWh: is no input of this formula"),
        ('{"facility_kWh": 1, "it_kWh": null}', "it_joules is null: a number is needed"),
        ('{"facility_kWh": NaN, "it_kWh": 1}', "facility_joules is NaN: a finite number"),
        (
            '{"facility_kWh": 1, "it_kWh": 1, "battery_unmetered": 1}',
            "battery_unmetered is 1: true or false is needed",
        ),
        ('{"facility_kWh": {"kWh": 1}, "it_kWh": 1}', "facility_joules is {.*}: a number"),
    ],
)
def test_faults_name_what_was_found_and_what_is_needed(inputs: str, fault: str) -> None:
    with pytest.raises(FormulaError, match=fault):
        answer("pue", inputs)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PUE", '{"facility_kWh": 1500, "IT_MWh": 1}', 1.5),
        ("cue-of-grid", '{"intensity_g_per_kWh": 400, "pue_ratio": 1.25}', 0.5),
        ("water_heat_watts", '{"flow_l_per_s": 1, "rise_K": 10}', 41_860),
        ("wue", '{"water_L": 1500, "it_MWh": 1}', 1.5),
        ("it_headroom_watts", '{"limit_MW": 2, "load_kW": 1e3, "marginal_ratio": 1}', 1e6),
        ("real_power_watts", '{"apparent_kVA": 1, "power_factor_pct": 80}', 800),
        ("busy_speed", '{"counted_tokens": 5, "busy_ms": 500}', 10),
    ],
)
def test_names_and_units_are_taken_as_people_write_them(name: str, text: str, value: float) -> None:
    assert answer(name, text)["value"] == pytest.approx(value)


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("gross_margin", "gross_margin_ratio"),
        ("TTFT-QUANTILE", "latency_quantile"),
        ("OpenCost", "opencost_idle"),
    ],
)
def test_an_unknown_name_is_answered_with_those_near_it(given: str, near: str) -> None:
    with pytest.raises(FormulaError, match=f"no formula has the name {given}; near it: .*{near}"):
        answer(given, "{}")


def test_a_fault_of_a_step_inside_a_formula_is_one_line() -> None:
    steps = [{"price_money_per_kWh": 1, "up_to_kWh": 0}, {"price_money_per_kWh": 1}]
    with pytest.raises(FormulaError) as caught:
        answer("tier_cost", json.dumps({"before_kWh": 0, "energy_kWh": 1, "steps": steps}))
    assert caught.value.faults == ("up_to_kwh: input should be greater than 0",)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("facility_joules", "joules"),
        ("intensity_kg_per_joule", "kg_per_joule"),
        ("price_money_per_kwh", "money_per_kwh"),
        ("flow_litres_per_second", "litres_per_second"),
        ("output_million_tokens", "million_tokens"),
        ("intensity_kind", None),
        ("pue", None),
        ("per_kwh", "kwh"),
    ],
)
def test_unit_of_a_name(name: str, unit: str | None) -> None:
    assert unit_of(name) == unit


def test_factors() -> None:
    assert factor("kwh", "joules") == 3_600_000
    assert factor("pounds_per_mwh", "grams_per_kwh") == Decimal("0.45359237")
    assert factor("m3_per_hour", "litres_per_second") == pytest.approx(Decimal(1000) / 3600)
    assert factor("kwh", "watts") is None
    assert factor("kg_per_joule", "kg") is None
    assert factor("money", "joules") is None


UNITS = [(quantity, unit) for quantity, units in QUANTITIES.items() for unit in units]


@given(st.sampled_from(UNITS), st.sampled_from(UNITS))
def test_there_and_back_is_the_same(one: tuple[str, str], other: tuple[str, str]) -> None:
    there, back = factor(one[1], other[1]), factor(other[1], one[1])
    if one[0] != other[0]:
        assert there is None
        assert back is None
        return
    assert there is not None
    assert back is not None
    assert there * back == pytest.approx(Decimal(1), rel=Decimal("1e-20"))
