"""The check: one line per source of what was found and what is missing, whatever happens."""

from pathlib import Path
from typing import Any

import pytest

from meterhouse_agent.check import check
from meterhouse_agent.config import AgentConfig, validate
from meterhouse_agent.sources.modbus_sensors import Contact
from tests.servers import Port
from tests.stand_ins.modbus_meter import ModbusGateway, StandInSensor


def config(folder: Path, *sources: dict[str, Any], play: tuple[str, ...] = ()) -> AgentConfig:
    table: dict[str, Any] = {
        "site": "site-a",
        "node": "sim-000",
        "play": list(play),
        "socket": {"path": str(folder / "socket")},
        "spool": {"directory": str(folder)},
        "source": list(sources),
    }
    return validate(table, "test")


async def test_it_says_what_each_source_of_each_node_found(tmp_path: Path) -> None:
    simulated = {"kind": "simulated"}
    rows, good = await check(config(tmp_path, simulated, play=("sim-000", "facility")))

    assert good
    assert rows[0].split() == ["node", "source", "state", "found"]
    assert rows[1].startswith("sim-000   simulated  ok     8 of 8 accelerators read")
    assert "5 of 5 meters read" in rows[2]


async def test_it_says_what_is_not_measured(tmp_path: Path) -> None:
    silent = [
        {
            "kind": "silent",
            "device": "d3",
            "from_seconds": 1_790_000_000,
            "to_seconds": 4_000_000_000,
        }
    ]
    rows, good = await check(config(tmp_path, {"kind": "simulated", "fleet": {"faults": silent}}))

    assert good
    assert "7 of 8 accelerators read" in rows[1]


async def test_a_gateway_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    port = Port()
    modbus = {
        "kind": "modbus",
        "host": "127.0.0.1",
        "port": port.number,
        "meters": [{"name": "hall-1", "unit_id": 1, "profile": "schneider_pm5000"}],
    }
    rows, good = await check(config(tmp_path, modbus, {"kind": "simulated"}))
    port.release()

    assert not good
    assert "failed" in rows[1]
    assert " ok " in rows[2]
    assert all("\n" not in row for row in rows)


async def test_it_says_how_many_sensors_of_a_gateway_were_read(tmp_path: Path) -> None:
    sensors = [
        {"name": f"leak-{unit_id}", "unit_id": unit_id, "contact": {"address": 0}}
        for unit_id in (1, 2)
    ]
    async with ModbusGateway(StandInSensor(unit_id=1, contact=Contact(address=0))) as gateway:
        modbus = {"kind": "modbus", "host": "127.0.0.1", "port": gateway.port, "sensors": sensors}
        rows, good = await check(config(tmp_path, modbus))

    assert good
    assert rows[1].endswith("1 of 2 sensors read")


async def test_a_node_without_what_a_source_reads_is_told_apart_from_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    rows, good = await check(config(tmp_path, {"kind": "nvml"}))

    assert not good
    assert rows[1].split()[:3] == ["sim-000", "nvml", "absent"]


async def test_a_node_that_is_not_in_the_fleet_is_one_line(tmp_path: Path) -> None:
    rows, good = await check(config(tmp_path, {"kind": "simulated"}, play=("sim-999",)))

    assert not good
    assert rows[1].split()[:3] == ["sim-999", "simulated", "failed"]
    assert "change node or fleet.nodes" in rows[1]
