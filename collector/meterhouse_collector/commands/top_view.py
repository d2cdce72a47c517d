"""What ``top`` draws; the only module that knows rich."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from meterhouse_agent import wire
from meterhouse_collector.commands.fleet_rows import Pool, Sum, sum_of, sum_of_all, within

# As on the page and on the boards.
COLOURS: Final[Mapping[wire.State, str]] = {
    "active": "#009E73",
    "held_idle": "#E69F00",
    "free": "#56B4E9",
    "unhealthy": "#D55E00",
    "unknown": "#999999",
}
_TITLES: Final = ("active", "held", "free", "bad", "?")
_BAR_CELLS: Final = 16
_NONE: Final = "—"
# Head, blank, headings, sum and status, each of the first and the last perhaps in two lines.
_LINES_BESIDE: Final = 7
_HELP: Final = "q ends · s sorts · r turns round · n nodes · f next pool"


def document(
    live: Mapping[str, Any], pools: Sequence[Pool], *, currency: str, status: str, nodes: bool
) -> RenderableType:
    """Return one screen: the KPIs, the pools with their nodes, and what is chosen."""
    return Group(
        _head(live, currency), Text(), _table(pools, currency, nodes=nodes), Text(status, "dim")
    )


def fitted(pools: Sequence[Pool], height: int) -> Sequence[Pool]:
    """Return the pools with as many of their nodes as a screen of that height can show."""
    return within(pools, height - _LINES_BESIDE - len(pools))


def status_of(sort: str, words: str, *, turned: bool, keys: bool) -> str:
    """Return the line below the table."""
    parts = [f"by {sort}{', turned' if turned else ''}"]
    if words:
        parts.append(f"only {words}")
    if keys:
        parts.append(_HELP)
    return " · ".join(parts)


def _head(live: Mapping[str, Any], currency: str) -> Text:
    kpis = live["kpis"]
    text = Text.assemble((str(live["site"]), "bold"), "  ")
    for title, name, form in (
        ("iPUE", "pue", "{:.3f}"),
        ("idle", "idle_capacity_ratio", "{:.1%}"),
        (f"{currency} per M output", "cost_per_million_output_tokens", "{:.3f}"),
    ):
        value = kpis[name]["value"]
        shown = _NONE if value is None else form.format(value)
        text.append(f"{title} ").append(shown, "bold").append("  ")
    alerts = live["alerts"]["firing"]
    text.append(f"{alerts} firing" if alerts else "no alert", "bold" if alerts else "dim")
    for name in ("pue", "idle_capacity_ratio", "cost_per_million_output_tokens"):
        if kpis[name]["value"] is None:
            text.append(f"\n{name}: {kpis[name]['reason']}", "dim")
    return text


def _table(pools: Sequence[Pool], currency: str, *, nodes: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("pool, node", no_wrap=True)
    table.add_column("states", no_wrap=True)
    for title, state in zip(_TITLES, wire.STATES, strict=True):
        table.add_column(title, justify="right", header_style=COLOURS[state])
    for title in ("power", "tokens/s", f"{currency}/h"):
        table.add_column(title, justify="right", no_wrap=True)
    for pool in pools:
        table.add_row(*_cells(f"{pool.name}  {pool.whole.nodes} nodes", pool.whole), style="bold")
        for node in pool.nodes if nodes else ():
            name = f"  {node.name}" if node.heard else f"  {node.name} (silent)"
            table.add_row(*_cells(name, sum_of([node])))
        if nodes and len(pool.nodes) < pool.whole.nodes:
            table.add_row(f"  … {pool.whole.nodes - len(pool.nodes):,} more", style="dim")
    if len(pools) > 1:
        whole = sum_of_all(pools)
        table.add_row(*_cells(f"all  {whole.nodes} nodes", whole), style="bold")
    if not pools:
        table.add_row("no node")
    return table


def _cells(name: str, of: Sum) -> Iterator[RenderableType]:
    yield name
    yield _bar(of.states, of.devices)
    for state in wire.STATES:
        many = of.states[state]
        yield Text(f"{many:.0f}" if many == round(many) else f"{many:.1f}")
    yield _NONE if of.power_watts is None else f"{of.power_watts / 1000:,.2f} kW"
    rate = of.output_tokens_per_second
    yield _NONE if rate is None else f"{rate:,.0f}"
    yield _NONE if of.money_per_hour is None else f"{of.money_per_hour:,.2f}"


def _bar(states: Mapping[wire.State, float], devices: int) -> Text:
    bar = Text()
    ends, cells = 0.0, 0
    for state in wire.STATES:
        ends += states[state] / devices * _BAR_CELLS if devices else 0.0
        more = round(ends) - cells
        cells += more
        bar.append("█" * more, COLOURS[state])
    return bar


def print_once(document_: RenderableType) -> None:
    """Print one screen, plainly where the output is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        # For scripts: as wide as it is.
        console = Console(highlight=False, width=200)
    console.print(document_)
