"""The tree of meters: one cut is summed, and nothing is counted twice."""

from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.site.load import parse_site
from meterhouse_collector.site.meters import MeterTree, Term
from meterhouse_collector.site.power import Meter
from tests.collector.sites import HEAD, POOLS, faults, index


def meter(name: str, role: str, parent: str | None = None, **more: object) -> Meter:
    return Meter.model_validate({"name": name, "role": role, "parent": parent, **more})


def factors(terms: tuple[Term, ...]) -> dict[str, float]:
    return {term.meter.name: term.factor for term in terms}


def test_of_it_meters_behind_each_other_the_most_upstream_is_summed() -> None:
    tree = MeterTree(
        [
            meter("utility", "boundary"),
            meter("ups-in", "ups_in", "utility"),
            meter("ups-out", "ups_out", "ups-in", category=1),
            meter("pdu-a", "pdu", "ups-out", category=2),
            meter("node-1", "node", "pdu-a", category=3),
            meter("pdu-x", "pdu", "utility", category=2),
        ]
    )
    assert factors(tree.it) == {"ups-out": 1.0, "pdu-x": 1.0}
    assert tree.category == 1
    assert factors(tree.facility) == {"utility": 1.0}
    assert factors(tree.role("ups_in")) == {"ups-in": 1.0}
    assert factors(tree.role("pdu")) == {"pdu-a": 1.0, "pdu-x": 1.0}
    assert [m.name for m in tree.children("utility")] == ["ups-in", "pdu-x"]


def test_cooling_that_hangs_on_the_ups_is_subtracted_and_it_behind_it_is_added_again() -> None:
    tree = MeterTree(
        [
            meter("ups-out", "ups_out", category=1),
            meter("mech", "cooling", "ups-out"),
            meter("pump", "cooling", "mech"),
            meter("bms", "pdu", "mech", category=2),
            meter("chiller", "cooling"),
        ]
    )
    assert factors(tree.it) == {"ups-out": 1.0, "mech": -1.0, "bms": 1.0}
    assert tree.category == 1


def test_facility_is_import_generation_storage_and_cooling_less_what_is_not_the_data_centres() -> (
    None
):
    tree = MeterTree(
        [
            meter("utility", "boundary"),
            meter("export", "boundary", sign=-1),
            meter("offices", "boundary", "utility", sign=-1),
            meter("feeder", "boundary", "utility"),
            meter("genset", "generator"),
            meter("charge", "storage", sign=-1),
            meter("discharge", "storage"),
            meter("chilled", "purchased_cooling", factor=0.2),
            meter("diesel", "generator"),
        ],
        by_fuel=frozenset({"diesel"}),
    )
    assert factors(tree.facility) == {
        "utility": 1.0,
        "export": -1.0,
        "offices": -1.0,
        "genset": 1.0,
        "charge": -1.0,
        "discharge": 1.0,
        "chilled": 0.2,
    }


def test_what_is_behind_its_own_kind_is_neither_added_nor_subtracted_again() -> None:
    tree = MeterTree(
        [
            meter("utility", "boundary"),
            meter("offices", "boundary", "utility", sign=-1),
            meter("floor-1", "boundary", "offices", sign=-1),
            meter("hall", "boundary", "floor-1"),
            meter("plant", "generator"),
            meter("genset-1", "generator", "plant"),
            meter("solar", "generator", "utility"),
            meter("charge", "storage", sign=-1),
            meter("rack-charge", "storage", "charge", sign=-1),
            meter("chilled", "purchased_cooling", factor=0.2),
            meter("hall-chilled", "purchased_cooling", "chilled", factor=0.2),
        ]
    )
    # What made it hangs on the same busbar as the utility, and is behind its meter in name only.
    assert factors(tree.facility) == {
        "utility": 1.0,
        "offices": -1.0,
        "hall": 1.0,
        "plant": 1.0,
        "solar": 1.0,
        "charge": -1.0,
        "chilled": 0.2,
    }


def test_output_of_a_generator_by_fuel_leaves_the_meter_that_it_is_behind() -> None:
    plant = [
        meter("plant", "generator", share=0.5),
        meter("diesel", "generator", "plant"),
        meter("gas", "generator", "plant"),
    ]
    tree = MeterTree(plant, by_fuel=frozenset({"diesel"}))
    assert factors(tree.facility) == {"plant": 0.5, "diesel": -0.5}
    whole = MeterTree(plant, by_fuel=frozenset({"plant"}))
    assert whole.facility == ()
    named_boundary = MeterTree([meter("diesel", "boundary")], by_fuel=frozenset({"diesel"}))
    assert named_boundary.facility == ()


def test_shared_meter_counts_by_its_share_and_so_does_what_is_subtracted_behind_it() -> None:
    tree = MeterTree(
        [
            meter("building", "boundary", share=0.6),
            meter("pdu", "pdu", category=2, share={"c1": 0.5, "c2": 0.25}),
            meter("crah", "cooling", "pdu", share=0.5),
        ]
    )
    assert factors(tree.facility) == {"building": 0.6}
    assert factors(tree.it) == {"pdu": 0.75, "crah": -0.375}


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.floats(0, 1e6)), max_size=10))
def test_cut_of_a_tree_without_losses_is_the_sum_of_its_leaves(
    shape: list[tuple[int, bool, float]],
) -> None:
    # Each is behind one before it, or a root; an inner meter reads what those behind it read.
    parents = [before if before < n else None for n, (before, _, _) in enumerate(shape)]
    leaf = [n not in parents for n in range(len(shape))]
    reads = [draw if leaf[n] else 0.0 for n, (_, _, draw) in enumerate(shape)]
    for n in reversed(range(len(shape))):
        parent = parents[n]
        if parent is not None:
            reads[parent] += reads[n]
    tree = MeterTree(
        [
            meter(
                f"m{n}",
                "pdu",
                None if parents[n] is None else f"m{parents[n]}",
                category=2 if metered or leaf[n] else None,
            )
            for n, (_, metered, _) in enumerate(shape)
        ]
    )
    total = fsum(term.factor * reads[int(term.meter.name[1:])] for term in tree.it)
    leaves = fsum(reads[n] for n in range(len(shape)) if leaf[n])
    assert total == pytest.approx(leaves, rel=1e-9, abs=1e-9)


def meters(*lines: str) -> str:
    return "".join(f"[[meter]]\n{line}\n" for line in lines)


def test_loop_is_a_fault_that_names_its_meters() -> None:
    text = meters(
        'name = "a"\nrole = "pdu"\nparent = "c"',
        'name = "b"\nrole = "pdu"\nparent = "a"',
        'name = "c"\nrole = "pdu"\nparent = "b"',
        'name = "d"\nrole = "pdu"\nparent = "d"',
    )
    found = faults(HEAD + text)
    assert len(found) == 2
    assert all("meter." in line and ".parent: found a loop, " in line for line in found)
    assert any("d → d" in line for line in found)
    assert any({"a", "b", "c"} < set(line.split()) | {"a,", "b,", "c,"} for line in found)


def test_meters_that_change_places_over_time_are_no_loop() -> None:
    text = meters(
        'name = "a"\nrole = "pdu"\nvalid_to = 2026-01-01',
        'name = "a"\nrole = "pdu"\nparent = "b"\nvalid_from = 2026-01-01',
        'name = "b"\nrole = "pdu"\nparent = "a"\nvalid_to = 2026-01-01',
        'name = "b"\nrole = "pdu"\nvalid_from = 2026-01-01',
    )
    known = index(HEAD + text)
    change = known.dated.meter.instants[0]
    assert [m.name for m in known.metering(change - 1).children("a")] == ["b"]
    assert [m.name for m in known.metering(change).children("b")] == ["a"]


def test_cut_follows_the_dates_of_its_meters() -> None:
    text = meters(
        'name = "ups"\nrole = "ups_out"\ncategory = 1\nvalid_from = 2026-01-01',
        'name = "pdu"\nrole = "pdu"\ncategory = 2\nparent = "ups"',
    )
    known = index(HEAD + text)
    change = known.dated.meter.instants[0]
    before, after = known.metering(change - 1), known.metering(change)
    assert (factors(before.it), before.category) == ({"pdu": 1.0}, 2)
    assert (factors(after.it), after.category) == ({"ups": 1.0}, 1)
    assert {m.name for m in known.it_meters} == {"ups", "pdu"}


def test_generator_counted_by_fuel_leaves_its_output_out() -> None:
    text = meters('name = "out"\nrole = "generator"', 'name = "utility"\nrole = "boundary"')
    generator = (
        '[[generator]]\nname = "g"\nrated_watts = 1e6\nmeters = ["out"]\nkwh_per_litre = 9.9\n'
    )
    by_output = index(HEAD + text + generator)
    by_fuel = index(HEAD + text + generator + 'counted = "fuel"\n')
    assert factors(by_output.metering(0).facility) == {"utility": 1.0, "out": 1.0}
    assert factors(by_fuel.metering(0).facility) == {"utility": 1.0}


def ups(name: str, more: str = "") -> str:
    return f'[[power]]\nname = "{name}"\nkind = "ups"\nunit_watts = 100.0\n{more}\n'


def test_power_tree_has_no_loop_and_pairs_are_mutual() -> None:
    assert "power.0.parent: found a loop, a → b → a" in faults(
        HEAD + ups("a", 'parent = "b"') + ups("b", 'parent = "a"')
    )[0].replace("b → a → b", "a → b → a")
    (fault,) = faults(HEAD + ups("a", 'pair = "b"') + ups("b"))
    assert fault.endswith("power.0.pair: found 'b', allowed: another whose pair is 'a'")
    parse_site(HEAD + ups("a", 'pair = "b"') + ups("b", 'pair = "a"'), "site.toml")


def test_needs_of_the_pipeline_have_no_loop() -> None:
    text = "".join(
        f'[[pipeline]]\nname = "{name}"\nkind = "permit"\nneeds = ["{other}"]\n'
        for name, other in (("a", "b"), ("b", "a"))
    )
    assert "pipeline.0.needs: found a loop, " in faults(HEAD + text)[0]


def test_what_is_left_at_n_is_without_spare_units_and_margin() -> None:
    known = index(HEAD + POOLS + ups("a", "units = 4\nspare_units = 1\nmargin_ratio = 0.2"))
    assert known.model.power[0].watts_at_n == pytest.approx(240.0)
