"""The command ``rerate``: what changed prices come to, stored or only asked for."""

from pathlib import Path

import pytest

from meterhouse_collector.__main__ import main
from tests.collector.collecting import SITE
from tests.collector.stored_site import PRICED, since, stored_site


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return stored_site(tmp_path)


def rated(out: str) -> dict[str, list[str]]:
    """Return the amounts of each kind, before, after and between."""
    return {line.split()[0]: line.split()[1:] for line in out.splitlines() if "." in line}


def test_nothing_changes_where_no_price_has(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rerate", "-c", str(config), "--from", since()]) == 0
    out = capsys.readouterr().out
    assert "2 quarter hours rated again" in out
    # 4 devices at 1,000 a day for half an hour; 5 kW for half an hour at 0.25.
    assert rated(out)["capital"] == ["83.33", "83.33", "0.00"]
    assert rated(out)["energy"] == ["0.63", "0.63", "0.00"]
    assert "revision 0" in out


def test_another_model_is_only_shown_until_it_is_the_sites(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dearer = config.parent / "dearer.toml"
    dearer.write_text(SITE + PRICED.replace("3650000", "7300000").replace("0.25", "0.50"))
    asked = ["rerate", "-c", str(config), "--from", since(), "--what-if", str(dearer)]
    for _ in range(2):
        assert main(asked) == 0
        out = capsys.readouterr().out
        assert "nothing was stored" in out
        assert rated(out)["capital"] == ["83.33", "166.67", "83.34"]
        assert rated(out)["energy"] == ["0.63", "1.25", "0.62"]
        assert rated(out)["total"] == ["83.96", "167.92", "83.96"]
    (config.parent / "site.toml").write_text(dearer.read_text())
    stored = ["rerate", "-c", str(config), "--from", since()]
    assert main(stored) == 0
    assert "revision 1" in (out := capsys.readouterr().out)
    assert rated(out)["capital"] == ["83.33", "166.67", "83.34"]
    assert main(stored) == 0
    assert "revision 1" in (out := capsys.readouterr().out)
    assert rated(out)["capital"] == ["166.67", "166.67", "0.00"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--from", "yesterday"], "allowed: a date"),
        (["--from", "2026-10-01T00:07"], "full quarter hour"),
        (["--from", "2019-01-01", "--to", "2019-02-01"], "no quarter hour is summed"),
        (["--from", "2019-02-01", "--to", "2019-01-01"], "a window that ends after it begins"),
    ],
)
def test_a_window_that_is_none_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], fault: str
) -> None:
    assert main(["rerate", "-c", str(config), *arguments]) == 2
    said = capsys.readouterr()
    assert fault in said.err
    assert not said.out


def test_another_site_is_no_what_if(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = config.parent / "other.toml"
    other.write_text(SITE.replace("site-a", "site-b"))
    asked = ["rerate", "-c", str(config), "--from", since(), "--what-if", str(other)]
    assert main(asked) == 2
    assert "found site-b, allowed: site-a" in capsys.readouterr().err
