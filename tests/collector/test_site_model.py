"""The site file: its sample, and what each table accepts by itself."""

import re
import tomllib
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest

from meterhouse_collector.settings import Section
from meterhouse_collector.site.load import SiteModelError, load_site, parse_site, sample
from meterhouse_collector.site.model import SiteModel
from tests.collector.sites import ASSET, BASE, ENGINE, HEAD, POOLS, faults, index

TAKEN = re.sub(r"^# ", "", sample(), flags=re.MULTILINE)
# The tables that a newcomer begins with; all others are commented out as a whole.
SHOWN = {"pool", "hardware", "asset", "engine", "meter", "tariff"}


def sections_of(annotation: object) -> list[type[Section]]:
    """Return the tables that an annotation holds: its own, or those of its union or tuple."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if get_origin(annotation) in {tuple, Union, types.UnionType} or hasattr(
        annotation, "__metadata__"
    ):
        return [found for part in get_args(annotation) for found in sections_of(part)]
    return []


def keys_of(section: type[Section]) -> dict[str, str]:
    return {field.alias or name: name for name, field in section.model_fields.items()}


def is_of(section: type[Section], table: dict[str, Any]) -> bool:
    kind = section.model_fields.get("kind")
    return (
        kind is None
        or get_args(kind.annotation) != (kind.default,)
        or (table.get("kind") == kind.default)
    )


def assert_complete(section: type[Section], tables: list[dict[str, Any]], where: str) -> None:
    keys = {key for table in tables for key in table}
    assert keys == keys_of(section).keys(), where
    for key, name in keys_of(section).items():
        values = [table[key] for table in tables if key in table]
        inner = [v for value in values for v in (value if isinstance(value, list) else [value])]
        # Of a scope the text says what else may stand there: its parts exclude each other.
        for found in [] if key == "scope" else sections_of(section.model_fields[name].annotation):
            mine = [value for value in inner if isinstance(value, dict) and is_of(found, value)]
            assert_complete(found, mine, f"{where}.{key}")


TABLES = {
    name: sections_of(field.annotation)[0]
    for name, field in SiteModel.model_fields.items()
    if sections_of(field.annotation)
}


def test_sample_is_valid_as_shown_and_with_every_commented_line_taken() -> None:
    # Of a site with a register nothing is retired by hand.
    [retire] = re.findall(r"^\[\[retire\]\]\n(?:\w.*\n)+", TAKEN, flags=re.MULTILINE)
    shown, taken = parse_site(sample(), "sample"), parse_site(TAKEN.replace(retire, ""), "sample")
    retiring = parse_site(HEAD + retire, "sample")
    for name in TABLES:
        assert bool(getattr(shown, name)) == (name in SHOWN)
        found = getattr(retiring if name == "retire" else taken, name)
        assert len(found) == len(tomllib.loads(TAKEN)[name]) > 0


@pytest.mark.parametrize("name", TABLES)
def test_sample_shows_every_key_of_every_table(name: str) -> None:
    assert_complete(TABLES[name], tomllib.loads(TAKEN)[name], name)


# Tables that would say nothing by their defaults: the text above them says that they are examples.
EXAMPLES = {
    *(("power", key) for key in ("units", "spare_units", "margin_ratio")),
    *(("cooling", key) for key in ("units", "spare_units")),
    *(("contract", key) for key in ("unit", "rate_per")),
    *((table, "scope") for table in ("budget", "threshold")),
    ("pipeline", "quantity"),
}


@pytest.mark.parametrize("name", TABLES)
def test_first_table_of_the_sample_shows_the_defaults(name: str) -> None:
    section, first = TABLES[name], tomllib.loads(TAKEN)[name][0]
    taken = section.model_validate(first)
    for key, field in keys_of(section).items():
        info = section.model_fields[field]
        empty: list[object] = [None, (), {}]
        if info.is_required() or info.get_default(call_default_factory=True) in empty:
            continue
        if (name, key) in EXAMPLES:
            continue
        without = section.model_validate({k: v for k, v in first.items() if k != key})
        assert getattr(taken, field) == getattr(without, field), f"{name}.{key}"


def test_a_newcomer_needs_three_lines() -> None:
    model = parse_site(HEAD, "site.toml")
    assert all(getattr(model, name) == () for name in TABLES)
    assert index(HEAD).price_per_joule(0.0) is None
    assert index(HEAD).boundary_meters == ()


def test_load_names_file_key_found_and_allowed(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(HEAD + 'colour = "red"\n')
    with pytest.raises(SiteModelError) as caught:
        load_site(path)
    assert caught.value.faults == [
        f"{path}: colour: found 'red', allowed: Extra inputs are not permitted"
    ]
    with pytest.raises(SiteModelError, match="No such file"):
        load_site(tmp_path / "absent.toml")


def test_load_reads_the_prices_that_lie_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    series = '[[tariff.component]]\nkind = "series"\npath = "prices.csv"\n'
    path.write_text(HEAD + "[[tariff]]\nvalid_from = 2026-01-01\n" + series)
    with pytest.raises(SiteModelError, match=r"prices\.csv: No such file"):
        load_site(path)
    (tmp_path / "prices.csv").write_text("begins,per_mwh\n2026-02-01T00:00:00+01:00,80\n")
    (tariff,) = load_site(path).tariff
    assert [str(p.per_kwh) for c in tariff.components for p in getattr(c, "point", ())] == ["0.08"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name = [", "Invalid value"),
        (HEAD.replace("EUR", "euro"), "currency: found 'euro'"),
        (HEAD.replace("Berlin", "Nowhere"), "time_zone: found 'Europe/Nowhere'"),
        (HEAD + '[[pool]]\nname = "unregistered"\ncluster = "c"\n', "pool.0.name: found 'unreg"),
        (HEAD + '[[tenant]]\nname = "none"\n', "tenant.0.name: found 'none'"),
        (HEAD + ENGINE.replace("n1/d0", "d0"), 'devices as "node/device"'),
        (HEAD + ENGINE.replace("served_model", "# "), "either served_model or served_models"),
        (BASE.replace('"1825d"', '"5 years"'), "hardware.0.life: found '5 years'"),
        (BASE.replace('"1825d"', '"0d"'), "hardware.0.life: found '0d'"),
        (
            BASE.replace('"1825d"', '"1825d"\nsalvage_per_device = 35001'),
            "a salvage of at most the price, 35000",
        ),
        (
            BASE.replace('"1825d"', '"1825d"\ndepreciation = "annuity"'),
            'a cost_of_capital with depreciation = "annuity"',
        ),
        (BASE + ASSET.replace("2026-01-01", "2026-01-01\nretired = 2025-01-01"), "a retired date"),
        (BASE + ASSET.replace('"d1"', '"d0"'), "each name once in devices"),
        (
            BASE + ASSET.replace("2026-01-01", "2026-01-01\ndelivered = 2026-02-01"),
            "a delivered date not after in_service",
        ),
        (HEAD + '[[meter]]\nname = "m"\nrole = "it"\n', "a category of 1, 2 or 3"),
        (HEAD + '[[meter]]\nname = "m"\nrole = "it"\ncategory = 1\nsign = -1\n', "a sign with"),
        (HEAD + '[[meter]]\nname = "m"\nrole = "water"\ncategory = 1\n', "a category with one"),
        (HEAD + '[[meter]]\nname = "m"\nrole = "boundary"\nsign = 2\n', "meter.0.sign: found 2"),
        (HEAD + '[[meter]]\nname = "m"\nrole = "boundary"\nfactor = 0.3\n', "a factor with role"),
        (
            HEAD
            + POOLS
            + '[[meter]]\nname = "m"\nrole = "boundary"\nshare = { c1 = 0.7, c2 = 0.4 }\n',
            "shares that sum to 1 at most",
        ),
        (
            HEAD + '[[power]]\nname = "u"\nkind = "ups"\nunit_watts = 1e6\nspare_units = 1\n',
            "fewer spare_units than units, 1",
        ),
        (
            HEAD + '[[power]]\nname = "t"\nkind = "transformer"\n',
            "unit_watts, unit_volt_amperes, or both",
        ),
        (
            HEAD + '[[grid_connection]]\nname = "g"\ncontracted_volt_amperes = 1e6\n',
            "a power_factor_ratio with contracted_volt_amperes, and only there",
        ),
        (
            HEAD + '[[generator]]\nname = "g"\nrated_watts = 1e6\ncounted = "fuel"\n',
            'kwh_per_litre with counted = "fuel"',
        ),
        (
            HEAD + '[[cluster]]\nname = "c"\nvalid_from = 2026-01-01\nvalid_to = 2026-01-01\n',
            "a valid_to after valid_from, 2026-01-01",
        ),
    ],
)
def test_fault_is_named(text: str, fault: str) -> None:
    found = faults(text)
    assert any(fault in line for line in found), found
    assert all("\n" not in line and line.startswith("site.toml: ") for line in found)
