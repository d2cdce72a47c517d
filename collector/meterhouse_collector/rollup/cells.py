"""A node's ledger row put on the register in force: every registered device-second, once.

A row keeps the models and holders of its own time. Where the register has changed since, what
fits no holding any more fills those that lack time, so that a correction never counts twice.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.money.kinds import SECONDS_KINDS
from meterhouse_collector.rows import NodeRow, Share
from meterhouse_collector.site.index import Holding, Placement, Plan, SiteIndex

Five = tuple[float, float, float, float, float]
Four = tuple[float, float, float, float]
ZEROS: Final[Five] = (0.0, 0.0, 0.0, 0.0, 0.0)
NO_REASONS: Final[Four] = (0.0, 0.0, 0.0, 0.0)
_HALF_A_MILLISECOND: Final = 0.5
_HELD_IDLE: Final = wire.STATES.index("held_idle")
_FREE: Final = wire.STATES.index("free")
_UNKNOWN: Final = wire.STATES.index("unknown")


class Cell(Struct, frozen=True, gc=False):
    """Device-seconds and measured joules by state, and the groups they belong to.

    ``capital_per_second`` is per device-second, None where the hardware has no price. ``reasons``
    are the unhealthy seconds by reason, as far as one was told.
    """

    placements: tuple[Placement, ...]
    seconds: Five
    joules: Five
    capital_per_second: float | None
    unmetered: bool
    reasons: Four | None = None


def cells(row: NodeRow | None, plan: Plan | None, index: SiteIndex, length: int) -> list[Cell]:
    """Return the cells of one node; ``length`` is in milliseconds.

    What the register has and the row lacks is ``unknown``; what the row has beyond the register
    is unregistered.
    """
    holdings = {} if plan is None else plan.holdings
    shares = () if row is None else row.shares
    exact = []
    for share in shares:
        holding = holdings.get((share.accelerator_model, share.holder))
        if holding is None or sum(share.milliseconds) != holding.devices * length:
            return list(_reconciled(shares, holdings, index, length))
        exact.append(_cell(share, holding.placements, holding.capital_per_second))
    if len(exact) != len(holdings):
        return list(_reconciled(shares, holdings, index, length))
    return exact


def _cell(
    share: Share,
    placements: tuple[Placement, ...],
    capital_per_second: float | None,
    part: float = 1.0,
) -> Cell:
    scale = part / 1000.0
    active, held_idle, free, unhealthy, unknown = share.milliseconds
    measured = [0.0 if value is None else value * part for value in share.joules]
    if free > 0 and placements[0].engine:
        # The engine was put on these devices after the row was written.
        held_idle, free = held_idle + free, 0
        measured[_HELD_IDLE] += measured[_FREE]
        measured[_FREE] = 0.0
    seconds = (active * scale, held_idle * scale, free * scale, unhealthy * scale, unknown * scale)
    joules: Five = tuple(measured)  # type: ignore[assignment] # they are five
    unmetered = share.energy_quality == "missing"
    return Cell(placements, seconds, joules, capital_per_second, unmetered, _reasons(share, scale))


def _reasons(share: Share, scale: float) -> Four | None:
    if share.unhealthy_milliseconds is None:
        return None
    failed, lost, planned, quarantined = share.unhealthy_milliseconds
    return failed * scale, lost * scale, planned * scale, quarantined * scale


def _reconciled(
    shares: tuple[Share, ...],
    holdings: dict[tuple[str, str], Holding],
    index: SiteIndex,
    length: int,
) -> Iterator[Cell]:
    lacking = {key: float(holding.devices * length) for key, holding in holdings.items()}
    loose: dict[str, list[tuple[Share, float]]] = {}
    models = {model for model, _ in holdings}
    for share in shares:
        key = (share.accelerator_model, share.holder)
        total = sum(share.milliseconds)
        holding = holdings.get(key)
        part = 0.0
        if holding is not None and total > 0:
            part = min(1.0, lacking[key] / total)
            lacking[key] -= total * part
            yield _cell(share, holding.placements, holding.capital_per_second, part)
        if part < 1.0:
            # An unknown model may be a registered one under the name it had then.
            kin = share.accelerator_model if share.accelerator_model in models else ""
            loose.setdefault(kin, []).append((share, 1.0 - part))
    seen = {share.accelerator_model for share in shares}
    for kin, left in loose.items():
        fits = [key for key in lacking if (key[0] == kin if kin else key[0] not in seen)]
        yield from _fill(left, [holdings[key] for key in fits], lacking, index)
    for key, missing in lacking.items():
        if missing >= _HALF_A_MILLISECOND:
            holding = holdings[key]
            seconds = (0.0, 0.0, 0.0, 0.0, missing / 1000.0)
            yield Cell(
                holding.placements, seconds, ZEROS, holding.capital_per_second, unmetered=True
            )


def _fill(
    left: list[tuple[Share, float]],
    fits: list[Holding],
    lacking: dict[tuple[str, str], float],
    index: SiteIndex,
) -> Iterator[Cell]:
    """Put loose parts of shares where time lacks; what is then left over is unregistered."""
    room = {(h.accelerator_model, h.holder): lacking[h.accelerator_model, h.holder] for h in fits}
    free = sum(room.values())
    needed = sum(sum(share.milliseconds) * part for share, part in left)
    fitting = min(1.0, free / needed) if needed > 0 else 0.0
    for share, part in left:
        for holding in fits:
            key = (holding.accelerator_model, holding.holder)
            if room[key] > 0:
                placed = part * fitting * room[key] / free
                yield _cell(share, holding.placements, holding.capital_per_second, placed)
                lacking[key] -= sum(share.milliseconds) * placed
        if fitting < 1.0:
            group = index.unregistered_group(share.accelerator_model)
            yield _cell(share, (Placement(group, "", 1.0),), None, part * (1.0 - fitting))


def weights(cell_list: list[Cell], whole: float | None) -> list[Five]:
    """Return the energy of a node's cells by state: the rest of the node follows its devices.

    ``whole`` is the energy of the node where it is metered; without any joules it goes by seconds.
    """
    if whole is None:
        return [cell.joules for cell in cell_list]
    measured = sum(sum(cell.joules) for cell in cell_list)
    if measured > 0:
        return [divided(cell.joules, measured, whole) for cell in cell_list]
    seconds = sum(sum(cell.seconds) for cell in cell_list)
    if seconds == 0:
        return [ZEROS for _ in cell_list]
    return [divided(cell.seconds, seconds, whole) for cell in cell_list]


def with_gap(cell_list: list[Cell], measured: list[Five], gap_joules: float) -> list[Five]:
    """Return the energy of a node's cells with what it drew unmeasured: that is of unknown state.

    Where no device was unknown, or none shows its energy, it goes like the rest of the node.
    """
    if gap_joules == 0:
        return measured
    unknown = sum(cell.seconds[_UNKNOWN] for cell in cell_list)
    if unknown == 0 or not any(any(cell.joules) for cell in cell_list):
        return weights(cell_list, sum(map(sum, measured)) + gap_joules)
    return [
        (a, b, c, d, e + cell.seconds[_UNKNOWN] / unknown * gap_joules)
        for cell, (a, b, c, d, e) in zip(cell_list, measured, strict=True)
    ]


def divided(parts: Five, total: float, whole: float) -> Five:
    """Return a whole split as its parts are to their total."""
    # Dividing first: no quotient is above 1, where whole / total could overflow.
    a, b, c, d, e = parts
    return (
        a / total * whole,
        b / total * whole,
        c / total * whole,
        d / total * whole,
        e / total * whole,
    )


REASON_FIELDS: Final = tuple(f"unhealthy_{reason}_seconds" for reason in wire.UNHEALTHY_REASONS)
STATE_FIELDS: Final = tuple(
    tuple(f"{state}_{word}" for word in ("seconds", "joules", "drawn_joules"))
    + tuple(f"{state}_{kind}_money" for kind in SECONDS_KINDS)
    for state in wire.STATES
)
