"""Reports become rows: states that fill the interval exactly, and joules only where measured."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.rows import Share
from meterhouse_collector.shares import (
    ReportError,
    engine_row,
    engine_rows,
    meter_row,
    meter_rows,
    node_row,
)
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site

SITE = """
name = "site"
currency = "EUR"
time_zone = "UTC"
pool = [{name = "p", cluster = "c"}]
[[asset]]
node = "n1"
pool = "p"
accelerator_model = "M"
devices = ["d0", "d1", "d2"]
in_service = 2026-01-01
[[engine]]
name = "e1"
served_model = "llama"
devices = ["n1/d0"]
"""
START = 1_780_000_000
INDEX = SiteIndex(parse_site(SITE, "site.toml"))


def inventory(*devices: str) -> wire.Inventory:
    return wire.Inventory(
        devices=[wire.Device(device=d, vendor="v", accelerator_model="M") for d in devices]
    )


ALL = inventory("d0", "d1", "d2")


def report(accelerators: wire.Accelerators | None, **fields: object) -> wire.Report:
    made = wire.Report(
        schema=1,
        site="site",
        node="n1",
        start_seconds=START,
        length_seconds=5,
        inventory_hash="h",
        accelerators=accelerators,
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def shares(accelerators: wire.Accelerators | None, devices: wire.Inventory) -> dict[str, Share]:
    row = node_row(report(accelerators), devices, INDEX)
    return {share.holder: share for share in row.shares}


def test_share_holds_the_states_and_joules_of_its_devices() -> None:
    accelerators = wire.Accelerators(
        state_milliseconds={"active": [5000, 1000, 0], "free": [0, 4000, 5000]},
        state_joules={"active": [3500.0, 700.0, None], "free": [None, 400.0, 500.0]},
    )
    found = shares(accelerators, ALL)
    assert found["engine:e1"].milliseconds == (5000, 0, 0, 0, 0)
    assert found["engine:e1"].joules == (3500.0, None, None, None, None)
    assert found["none"].milliseconds == (1000, 0, 9000, 0, 0)
    assert found["none"].joules == (700.0, None, 900.0, None, None)
    assert {share.energy_quality for share in found.values()} == {"ok"}


def test_free_device_of_an_engine_is_held_idle() -> None:
    accelerators = wire.Accelerators(
        state_milliseconds={"held_idle": [1000, 0, 0], "free": [4000, 5000, 5000]},
        state_joules={"held_idle": [100.0, None, None], "free": [400.0, 500.0, 500.0]},
    )
    found = shares(accelerators, ALL)
    assert found["engine:e1"].milliseconds == (0, 5000, 0, 0, 0)
    assert found["engine:e1"].joules == (None, 500.0, None, None, None)
    assert found["none"].milliseconds == (0, 0, 10000, 0, 0)


def test_what_states_leave_of_the_interval_is_unknown() -> None:
    accelerators = wire.Accelerators(
        state_milliseconds={"active": [3000, 5000, 5000]},
        state_joules={"active": [2100.0, 3500.0, 3500.0]},
    )
    found = shares(accelerators, ALL)
    assert found["engine:e1"].milliseconds == (3000, 0, 0, 0, 2000)
    assert found["engine:e1"].energy_quality == "missing"
    assert found["none"].energy_quality == "ok"


@pytest.mark.parametrize("devices", [ALL, inventory("d1"), inventory()])
def test_registered_device_without_telemetry_is_wholly_unknown(devices: wire.Inventory) -> None:
    found = shares(None, devices)
    assert found["engine:e1"].milliseconds == (0, 0, 0, 0, 5000)
    assert found["none"].milliseconds == (0, 0, 0, 0, 10000)
    assert found["none"].joules == (None,) * 5
    assert found["none"].energy_quality == "missing"


def test_measured_zero_is_not_missing_and_missing_is_not_zero() -> None:
    accelerators = wire.Accelerators(
        state_milliseconds={"active": [5000, 5000, 5000]},
        state_joules={"active": [0.0, 0.0, None]},
    )
    found = shares(accelerators, ALL)
    assert found["engine:e1"].joules[0] == 0.0
    assert found["engine:e1"].energy_quality == "ok"
    assert found["none"].joules[0] == 0.0
    assert found["none"].energy_quality == "missing"


def test_worst_method_of_the_devices_is_the_share_s() -> None:
    accelerators = wire.Accelerators(
        state_milliseconds={"active": [5000] * 3},
        state_joules={"active": [1.0] * 3},
        energy_method=["counter", "counter", "integrated"],
    )
    found = shares(accelerators, ALL)
    assert found["engine:e1"].energy_method == "counter"
    assert found["none"].energy_method == "integrated"


@pytest.mark.parametrize(
    "accelerators",
    [
        wire.Accelerators(state_milliseconds={"active": [5000]}),
        wire.Accelerators(state_joules={"active": [1.0]}),
        wire.Accelerators(energy_method=["counter"]),
        wire.Accelerators(state_milliseconds={"active": [3000] * 3, "free": [3000, 0, 0]}),
    ],
)
def test_report_that_cannot_be_true_is_refused(accelerators: wire.Accelerators) -> None:
    with pytest.raises(ReportError):
        node_row(report(accelerators), ALL, INDEX)


def test_node_row_carries_the_host() -> None:
    host = wire.Host(covered_milliseconds=5000, energy_joules=4000.0, cpu_energy_joules=0.0)
    row = node_row(report(None, host=host), ALL, INDEX)
    assert (row.host_covered_milliseconds, row.energy_joules, row.cpu_energy_joules) == (
        5000,
        4000.0,
        0.0,
    )
    with pytest.raises(ReportError, match="5001 ms covered"):
        node_row(report(None, host=wire.Host(covered_milliseconds=5001)), ALL, INDEX)


@st.composite
def measured(draw: st.DrawFn) -> tuple[wire.Accelerators, wire.Inventory]:
    names = draw(st.permutations(["d0", "d1", "d2", "x0", "x1"]))[: draw(st.integers(0, 5))]
    times: dict[wire.State, list[int]] = {state: [] for state in wire.STATES}
    for _ in names:
        left = 5000
        for state in wire.STATES:
            part = draw(st.integers(0, left))
            times[state].append(part)
            left -= part
    energy = st.none() | st.floats(0, 5000)
    joules: dict[wire.State, list[float | None]] = {
        state: [draw(energy) for _ in names] for state in wire.STATES
    }
    chosen = draw(st.sets(st.sampled_from(wire.STATES)))
    return (
        wire.Accelerators(
            state_milliseconds={s: times[s] for s in wire.STATES if s in chosen},
            state_joules={s: joules[s] for s in wire.STATES if s in chosen},
        ),
        inventory(*names),
    )


@settings(max_examples=300)
@given(measured())
def test_states_sum_to_installed_exactly_and_no_joule_is_lost(
    made: tuple[wire.Accelerators, wire.Inventory],
) -> None:
    accelerators, devices = made
    row = node_row(report(accelerators), devices, INDEX)
    names = {device.device for device in devices.devices}
    assert sum(sum(share.milliseconds) for share in row.shares) == 5000 * len(
        names | {"d0", "d1", "d2"}
    )
    assert all(part >= 0 for share in row.shares for part in share.milliseconds)
    kept = [part for share in row.shares for part in share.joules if part is not None]
    given_joules = [
        part for column in accelerators.state_joules.values() for part in column if part is not None
    ]
    assert sum(kept) == pytest.approx(sum(given_joules), rel=1e-9)
    assert bool(kept) == bool(given_joules)


def test_meter_row_is_the_meter_of_the_report() -> None:
    meter = wire.Meter(meter="m1", covered_milliseconds=4000, energy_joules=0.0, quality="stale")
    row = meter_row(meter, 5)
    assert (row.length_milliseconds, row.covered_milliseconds, row.energy_joules, row.quality) == (
        5000,
        4000,
        0.0,
        "stale",
    )
    assert meter_rows(report(None, meters=[meter])) == {"m1": row}


def test_a_volume_goes_into_the_row_as_it_is() -> None:
    row = meter_row(metering(volume_litres=0.0, registers=[register(litres=9.0)]), 5)
    assert (row.energy_joules, row.volume_litres, row.quality) == (None, 0.0, "ok")


def metering(**fields: Any) -> wire.Meter:  # noqa: ANN401 - any field of a meter
    return wire.Meter(meter="m1", covered_milliseconds=5000, **fields)


def register(joules: float | None = None, litres: float | None = None) -> wire.Register:
    return wire.Register(at_milliseconds=0, register_joules=joules, register_litres=litres, epoch=0)


@pytest.mark.parametrize(
    ("meter", "said"),
    [
        (metering(energy_joules=1.0, volume_litres=1.0), "energy and a volume"),
        (metering(power_watts=0.0, volume_litres=0.0), "energy and a volume"),
        (metering(energy_joules=1.0, registers=[register(litres=0.0)]), "energy and a volume"),
        (metering(registers=[register(1.0), register(litres=1.0)]), "energy and a volume"),
        (metering(registers=[register()]), "either register_joules or register_litres"),
        (metering(registers=[register(1.0, 1.0)]), "either register_joules or register_litres"),
    ],
)
def test_a_meter_that_counts_two_quantities_or_none_is_refused(
    meter: wire.Meter, said: str
) -> None:
    with pytest.raises(ReportError, match=f"meter m1.*{said}"):
        meter_row(meter, 5)


def test_engine_row_gathers_the_served_models() -> None:
    engines = [
        wire.Engine(engine="e1", served_model=model, covered_milliseconds=5000, output_tokens=7)
        for model in ("a", "b")
    ]
    row = engine_row(engines, 5)
    assert [served.served_model for served in row.served] == ["a", "b"]
    assert row.served[0].output_tokens == 7
    assert row.served[0].input_tokens is None
    assert engine_rows(report(None, engines=engines)) == {"e1": row}


METER = wire.Meter(meter="m1", covered_milliseconds=0)
ENGINE = wire.Engine(engine="e1", served_model="a", covered_milliseconds=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: meter_rows(report(None, meters=[METER, METER])),
        lambda: engine_rows(report(None, engines=[ENGINE, ENGINE])),
        lambda: meter_row(wire.Meter(meter="m1", covered_milliseconds=5001), 5),
        lambda: engine_row(
            [wire.Engine(engine="e1", served_model="a", covered_milliseconds=5001)], 5
        ),
    ],
)
def test_thing_that_is_there_twice_or_too_long_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ReportError):
        call()
