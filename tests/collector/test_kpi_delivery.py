"""What was delivered of what was promised, and how often and how long it was interrupted."""

from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.kpi import availability, reliability


def test_80_failed_devices_of_8000_can_be_8_percent_of_the_nodes() -> None:
    spread = availability.delivered_units(
        contracted_count=1000,
        groups=[availability.UnitGroup(920, 0), availability.UnitGroup(80, 1)],
    )
    together = availability.delivered_units(
        contracted_count=1000,
        groups=[availability.UnitGroup(990, 0), availability.UnitGroup(10, 8)],
    )
    by_device = availability.delivered_units(
        contracted_count=8000,
        groups=[availability.UnitGroup(7920, 0), availability.UnitGroup(80, 1)],
    )

    assert (spread.low_ratio, spread.high_ratio) == (0.92, 0.92)
    assert together.low_ratio == by_device.low_ratio == 0.99


def test_units_beyond_the_contract_deliver_nothing_and_silent_ones_a_low_and_a_high() -> None:
    found = availability.delivered_units(
        contracted_count=100,
        groups=[availability.UnitGroup(90, 0), availability.UnitGroup(20, 0, unknown_devices=1)],
    )

    assert (found.low_count, found.high_count) == (90, 100)


PART = st.integers(0, 10**9)


@given(PART, PART, PART, PART, PART, st.tuples(st.booleans(), st.booleans()), st.floats(0, 1))
def test_availability_lies_within_its_bounds_whatever_the_silent_ones_did(
    up: int,
    down: int,
    planned: int,
    tenant: int,
    unknown: int,
    excluded: tuple[bool, bool],
    lost: float,
) -> None:
    def of(down_seconds: float, unknown_seconds: float) -> availability.Availability:
        return availability.availability(
            promised_seconds=up + down + planned + tenant + unknown,
            down_seconds=down_seconds,
            planned_seconds=planned,
            tenant_caused_seconds=tenant,
            unknown_seconds=unknown_seconds,
            excludes_planned=excluded[0],
            excludes_tenant_caused=excluded[1],
        )

    found, truth = of(down, unknown), of(down + int(unknown * lost), 0)

    if truth.ratio is None:
        assert found.low_ratio is None
        return
    assert found.low_ratio is not None
    assert found.high_ratio is not None
    assert found.low_ratio <= truth.ratio * (1 + 1e-12)
    assert truth.ratio <= found.high_ratio * (1 + 1e-12)


def test_contract_says_whether_planned_and_tenant_caused_loss_count() -> None:
    def of(*, plan: bool, caused: bool) -> float | None:
        return availability.availability(
            promised_seconds=100,
            down_seconds=5,
            planned_seconds=10,
            tenant_caused_seconds=15,
            excludes_planned=plan,
            excludes_tenant_caused=caused,
        ).ratio

    assert of(plan=False, caused=False) == 0.7
    assert of(plan=True, caused=False) == 70 / 90
    assert of(plan=False, caused=True) == 70 / 85
    assert of(plan=True, caused=True) == 70 / 75


def test_checkpointing_is_no_progress() -> None:
    found = reliability.effective_training_time_ratio(
        productive_seconds=90,
        queued_seconds=0,
        restarting_seconds=0,
        recomputed_seconds=0,
        checkpoint_seconds=10,
    )

    assert found.value == 0.9


def test_device_that_is_still_down_does_not_shorten_the_mean_repair() -> None:
    (family,) = reliability.repair_by_family(
        repairs=[
            reliability.Repair("h100", "xid79", 7200.0),
            reliability.Repair("h100", "xid79", 60.0, repaired=False),
        ]
    )

    assert family == ("h100", "xid79", 7200, 1, 1, 60)


def test_no_failure_is_no_infinite_time_between_failures() -> None:
    found = reliability.mean_time_between_failures(in_service_seconds=3600, failures_count=0)

    assert (found.seconds, found.low_seconds) == (None, 3600)
