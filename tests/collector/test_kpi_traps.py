"""Every trap of the KPI reference, section 4, has a test that would fall into it."""

import re
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
# The number of the trap: the file and the beginning of the name of a test.
TRAPS: Final = {
    "4.1": ("collector/test_kpi_energy.py", "test_trap_4_1_"),
    "4.2": ("collector/test_kpi_energy.py", "test_trap_4_2_"),
    "4.3": ("agent/test_counter_vectors.py", "test_reference_4_3_"),
    "4.4": ("agent/test_counter_vectors.py", "test_reference_4_4_"),
    "4.5": ("collector/test_kpi_energy.py", "test_trap_4_5_"),
    "4.6": ("collector/test_money_contract.py", "test_trap_4_6_"),
    "4.7": ("collector/test_kpi_energy.py", "test_trap_4_7_"),
    "4.8": ("collector/test_kpi_energy.py", "test_trap_4_8_"),
    "4.9": ("collector/test_money_cost.py", "test_trap_4_9_"),
    "4.10": ("collector/test_rollup_serving.py", "test_requests_that_end_otherwise_have_failed"),
    # Of disaggregated workers; the vectors whose source is 4.11.
    "4.11": ("collector/test_vectors.py", "test_vector"),
    "4.12": ("agent/test_engine.py", "test_names_of_ray_are_the_same_names"),
    "4.13": ("collector/test_kpi_energy.py", "test_trap_4_13_"),
    "4.14": ("collector/test_money_focus.py", "test_trap_4_14_"),
    "4.15": ("collector/test_money_cost.py", "test_trap_4_15_"),
    # What the web has wrong: only what the vectors reproduce is believed.
    "4.16": ("collector/test_vectors.py", "test_given_vectors_are_all_there"),
}


def test_all_sixteen_traps_are_named() -> None:
    assert list(TRAPS) == [f"4.{number}" for number in range(1, 17)]


@pytest.mark.parametrize("trap", TRAPS)
def test_trap_has_a_test(trap: str) -> None:
    path, name = TRAPS[trap]
    text = (TESTS / path).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {name}", text, re.MULTILINE)


def test_workers_that_see_the_same_prompt_have_a_vector() -> None:
    sources = "".join(p.read_text(encoding="utf-8") for p in (TESTS / "vectors").glob("*.json"))
    assert "reference 4.11" in sources
