"""The state of a device for most of an interval, as a number for boards."""

import pytest

from meterhouse_agent import wire
from meterhouse_collector.device_states import state_numbers
from tests.collector.collecting import INVENTORY, index

GROUPING = index().grouping("node-1", INVENTORY, 1.8e9)


@pytest.mark.parametrize(
    ("times", "numbers"),
    [
        ({"active": [5000, 2000], "held_idle": [0, 3000]}, [0, 1]),
        # What nothing covers is unknown, and the first device is an engine's.
        ({"free": [5000, 5000]}, [1, 2]),
        ({"active": [2400, 2600]}, [4, 0]),
        ({"unhealthy": [5000, 0]}, [3, None]),
        ({}, [None, None]),
    ],
)
def test_the_longest_state_has_its_number(
    times: dict[wire.State, list[int]], numbers: list[float | None]
) -> None:
    columns = wire.Accelerators(state_milliseconds=times)
    assert state_numbers(columns, GROUPING, 5) == numbers
