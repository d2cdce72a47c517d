"""Builds the boards: ``python -m grafana.build`` writes ``grafana/dashboards/*.json``."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from grafana.boards import (
    budgets,
    capacity,
    community,
    cost,
    energy,
    limits,
    meterhouse,
    node,
    overview,
    service,
)
from grafana.frame import Board, json_of

DASHBOARDS: Final = Path(__file__).parent / "dashboards"
BOARDS: Final[dict[str, Callable[[], Board]]] = {
    "overview": overview.board,
    "capacity": capacity.board,
    "energy": energy.board,
    "cost": cost.board,
    "budgets": budgets.board,
    "service": service.board,
    "node": node.board,
    "limits": limits.board,
    "community": community.board,
    "meterhouse": meterhouse.board,
}


def boards() -> dict[str, str]:
    """Return the JSON of every board by the name of its file."""
    return {f"{name}.json": json_of(board()) for name, board in BOARDS.items()}


def main() -> None:
    """Write every board."""
    for name, text in boards().items():
        path = DASHBOARDS / name
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
