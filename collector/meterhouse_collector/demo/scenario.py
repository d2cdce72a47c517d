"""The demo's scenario: an overspent budget, failed accelerators and an idle pool, and when.

All of it follows from when the demo began and how long the scenario takes. Its alerts come from the
site file and the collector's own rules; nothing here tells an alert what to do.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from meterhouse_collector.alerts.book import Book
from meterhouse_collector.alerts.state import Key

LEAST_SECONDS: Final = 60.0
SECONDS: Final = 120.0
BUDGET: Final = "demo-budget"
LOST: Final = "accelerators-failed"
IDLE: Final = "pool-idle"
# Of the scenario, when what happens begins and ends.
_FAILS: Final = (0.12, 0.55)
_IDLES: Final = (0.34, 0.76)
_FAILED_DEVICES: Final = ("d4", "d5", "d6", "d7")


class Scenario(NamedTuple):
    """What happens from an instant on: on some devices of a node, and on all nodes of a pool."""

    begins_seconds: int
    length_seconds: float
    failing_node: str
    idle_pool: str
    idle_nodes: tuple[str, ...]

    @property
    def window_seconds(self) -> int:
        """Over how long the KPIs are, so that they follow what happens."""
        return round(self.length_seconds / 4) // 2 * 2

    def faults(self) -> str:
        """Return what the simulated fleet is to do, as TOML."""
        return "".join(
            f'[[source.fleet.faults]]\nkind = "{kind}"\nnode = "{node}"\n{device}'
            f"from_seconds = {begins}\nto_seconds = {ends}\n"
            for kind, node, device, (begins, ends) in self._faults()
        )

    def _faults(self) -> Iterator[tuple[str, str, str, tuple[int, int]]]:
        for device in _FAILED_DEVICES:
            yield "lost", self.failing_node, f'device = "{device}"\n', self._between(_FAILS)
        for node in self.idle_nodes:
            yield "idle_pool", node, "", self._between(_IDLES)

    def _between(self, parts: tuple[float, float]) -> tuple[int, int]:
        begins, ends = (self.begins_seconds + round(part * self.length_seconds) for part in parts)
        return begins, ends

    def watched(self) -> str:
        """Return what the site watches, as TOML: without patience, because it is a demo."""
        return f"""[[threshold]]
name = "{LOST}"
kind = "accelerator_lost"
above = 0
for = "2s"
severity = "page"
[[threshold]]
name = "{IDLE}"
kind = "idle"
above = 0.8
clear = 0.7
for = "2s"
scope = {{ pool = "{self.idle_pool}" }}
"""

    def steps(self) -> Sequence[tuple[float, str]]:
        """Return what is to be seen and when, in seconds since the beginning."""
        fails, idles = (
            tuple(part * self.length_seconds for part in parts) for parts in (_FAILS, _IDLES)
        )
        many = len(_FAILED_DEVICES)
        return sorted(
            (
                (0.0, "the budget of the site was spent yesterday: watch Alerts on the page"),
                (fails[0], f"{many} accelerators of {self.failing_node} fail: orange on the map"),
                (fails[1], f"the accelerators of {self.failing_node} are back"),
                (idles[0], f"pool {self.idle_pool} has nothing to do: idle capacity rises"),
                (idles[1], f"pool {self.idle_pool} works again"),
                (self.length_seconds, "the scenario is over"),
            )
        )


class Teller:
    """Says what the scenario does and which alerts fire, each once."""

    def __init__(self, scenario: Scenario, book: Book, note: Callable[[str], None]) -> None:
        self._scenario = scenario
        self._book = book
        self._note = note
        self._steps = deque(scenario.steps())
        self._known: set[Key] = set()

    def look(self, now_seconds: float) -> None:
        """Say what is new."""
        past = now_seconds - self._scenario.begins_seconds
        while self._steps and self._steps[0][0] <= past:
            self._note(_told(*self._steps.popleft()))
        firing = {key for key, entry in self._book.open.items() if entry.state.phase == "firing"}
        for key in sorted(firing - self._known):
            self._note(_told(past, f"alert fires: {_named(key)}"))
        for key in sorted(self._known - firing):
            self._note(_told(past, f"alert is over: {_named(key)}"))
        self._known = firing


def _named(key: Key) -> str:
    about = [value for name, value in key.labels if name != "site"]
    return f"{key.name} ({', '.join(about) or 'the whole site'})"


def budget(amount: int, currency: str, since: str) -> str:
    """Return a budget of the site that is too small, as TOML."""
    return f"""[[budget]]
# In {currency}.
name = "{BUDGET}"
amount = {amount}
period = "year"
burn = []
valid_from = {since}
"""


def _told(seconds: float, text: str) -> str:
    """Return a line of the scenario, with its minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}  {text}"
