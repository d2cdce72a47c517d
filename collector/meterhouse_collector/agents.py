"""What is known of each agent: its inventories, its last word and its last report."""

from collections.abc import Hashable
from typing import Final, TypeVar

from meterhouse_agent import wire
from meterhouse_collector.ledger import Installed

T = TypeVar("T", bound=Hashable)

_ALIKE_MAX: Final = 4_096
_QUIET: Final = frozenset({"ok", "absent"})


class Agent:
    """One agent; ``troubles`` are the sources of its last status that are neither ok nor absent.

    There are tens of thousands, so it holds no more than somebody asks for.
    """

    __slots__ = (
        "inventories",
        "inventory_hash",
        "node",
        "noted",
        "report_seconds",
        "set_aside",
        "since_seconds",
        "state",
        "status_seconds",
        "troubles",
        "waiting",
    )

    def __init__(self, node: str = "") -> None:
        self.node = node
        # By hash, the one that was told of last at the end.
        self.inventories: dict[str, Installed] = {}
        self.state: str | None = None
        self.troubles: tuple[wire.SourceState, ...] = ()
        self.status_seconds = 0.0
        self.report_seconds = 0.0
        self.waiting = 0
        self.inventory_hash = ""
        self.since_seconds = 0
        self.noted: tuple[str, ...] = ()
        # Of its reports, since this collector runs, by reason.
        self.set_aside: dict[str, int] = {}

    def hear(self, status: wire.Status, at_seconds: float) -> None:
        """Take its last word."""
        self.state, self.status_seconds = status.state, at_seconds
        self.troubles = tuple(each for each in status.sources if each.state not in _QUIET)


class Alike:
    """Keeps one of values that are equal: of thousands of nodes each would bring its own."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Hashable] = {}
        self._lists: dict[tuple[str, ...], list[str]] = {}

    def one(self, value: T) -> T:
        """Return the one that is equal to a value."""
        if len(self._known) >= _ALIKE_MAX:
            self._known.clear()
        # By type too: 1 equals 1.0, and would be written otherwise.
        return self._known.setdefault((type(value), value), value)  # type: ignore[return-value] # it is equal, and of the same type

    def inventory(self, inventory: wire.Inventory) -> wire.Inventory:
        """Let an inventory share what it has in common with all others; nobody changes one."""
        inventory.meters = self._list(inventory.meters)
        inventory.engines = self._list(inventory.engines)
        inventory.sensors = self._list(inventory.sensors)
        for device in inventory.devices:
            device.vendor = self.one(device.vendor)
            device.accelerator_model = self.one(device.accelerator_model)
            if device.memory_total_bytes is not None:
                device.memory_total_bytes = self.one(device.memory_total_bytes)
            device.capabilities = self._list(device.capabilities)
        return inventory

    def _list(self, texts: list[str]) -> list[str]:
        if len(self._lists) >= _ALIKE_MAX:
            self._lists.clear()
        return self._lists.setdefault(tuple(texts), texts)
