"""The command ``top``: the fleet by pool and node in the terminal, as a collector's page has it."""

import argparse
import contextlib
import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from meterhouse_collector.commands.books import UsageError
from meterhouse_collector.commands.fleet_rows import SORTS, Pool, nodes_of, parse_filter, pools_of
from meterhouse_collector.commands.page_client import PageClient, add_arguments, client_of
from meterhouse_collector.settings import parse_duration
from meterhouse_collector.web.nodes import NodeView

_LEAST_SECONDS: Final = 0.5


def add_parser(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command ``top`` to the program."""
    parser = commands.add_parser(
        "top", parents=parents, help="the fleet by pool and node, live, in the terminal"
    )
    add_arguments(parser)
    parser.add_argument("--sort", choices=SORTS, default="name", help="the order of the nodes")
    parser.add_argument(
        "--filter",
        default="",
        metavar="WORDS",
        help="only nodes with all of them: a part of a name, pool=, cluster=, tenant=, state=",
    )
    parser.add_argument("--once", action="store_true", help="print once, and end")
    parser.add_argument("--every", type=_every, default=2.0, metavar="2s", help="how often to ask")
    parser.set_defaults(do=top)


def _every(text: str) -> float:
    try:
        return max(_LEAST_SECONDS, float(str(parse_duration(text))))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}: {error}") from None


class Seen(NamedTuple):
    """What the page answered; ``trouble`` says why nothing newer came."""

    live: Any
    currency: str
    nodes: list[NodeView]
    trouble: str = ""


@dataclass(slots=True)
class Choice:
    """What the keys change: the order, the pool, and whether nodes are shown."""

    sort: str
    words: str
    turned: bool = False
    nodes: bool = True
    pool: str | None = None

    def press(self, key: str, pools: Sequence[str]) -> bool:
        """Take a key; tell whether the program goes on."""
        if key in {"q", "\x03"}:
            return False
        if key == "s":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        elif key == "r":
            self.turned = not self.turned
        elif key == "n":
            self.nodes = not self.nodes
        elif key == "f":
            following = [*pools, None]
            at = following.index(self.pool) if self.pool in following else len(pools)
            self.pool = following[(at + 1) % len(following)]
        return True

    def filter(self) -> str:
        """Return the words of the filter, with the pool that was chosen by a key."""
        return f"{self.words} pool={self.pool}".strip() if self.pool else self.words


def top(options: argparse.Namespace) -> int:
    """Show the fleet once, or until a key ends it; return the exit code."""
    try:
        parse_filter(options.filter)
    except ValueError as error:
        raise UsageError([f"--filter: {error}"]) from None
    client, choice = client_of(options), Choice(options.sort, options.filter)
    if options.once or not sys.stdout.isatty():
        return _once(client, choice)
    return _keep(client, choice, options.every)


def _once(client: PageClient, choice: Choice) -> int:
    # Only this command needs it, and it takes a while to load.
    from meterhouse_collector.commands import top_view  # noqa: PLC0415 - see above

    top_view.print_once(_screen(_ask(client), choice, keys=False))
    return 0


def _keep(client: PageClient, choice: Choice, every_seconds: float) -> int:
    from rich.live import Live  # noqa: PLC0415 - as above

    seen = _ask(client)
    screen = _screen(seen, choice, keys=True)
    with _keys() as keys, Live(screen, screen=True, auto_refresh=False) as shown:
        asked = time.monotonic()
        while True:
            key = keys(max(0.0, asked + every_seconds - time.monotonic()))
            if key and not choice.press(key, sorted({node.pool for node in seen.nodes})):
                return 0
            if not key:
                seen = _ask_again(client, seen)
                asked = time.monotonic()
            shown.update(_screen(seen, choice, keys=True), refresh=True)


def _ask(client: PageClient) -> Seen:
    live, answer = client.get("api/live"), client.get("api/nodes")
    try:
        return Seen(live, str(answer["currency"]), nodes_of(answer["list"]))
    except (KeyError, TypeError, ValueError) as error:
        raise OSError(f"{client.address}: {error}") from None


def _ask_again(client: PageClient, before: Seen) -> Seen:
    """Return what is there now, or what was there before with what went wrong."""
    try:
        return _ask(client)
    except OSError as error:
        return before._replace(trouble=f"stale: {error}")


def _screen(seen: Seen, choice: Choice, *, keys: bool) -> Any:  # noqa: ANN401 - rich's, loaded late
    from meterhouse_collector.commands import top_view  # noqa: PLC0415 - as above

    words = choice.filter()
    pools: Sequence[Pool] = pools_of(
        seen.nodes, parse_filter(words), choice.sort, turned=choice.turned
    )
    if keys:
        # What is below the edge of a terminal cannot be reached; a script gets it all.
        pools = top_view.fitted(pools, shutil.get_terminal_size().lines)
    status = top_view.status_of(choice.sort, words, turned=choice.turned, keys=keys)
    return top_view.document(
        seen.live,
        pools,
        currency=seen.currency,
        status=seen.trouble or status,
        nodes=choice.nodes,
    )


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Read single keys while it lasts; yield what waits for one so long, empty where none came."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)

    def key(seconds: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return os.read(descriptor, 1).decode(errors="replace") if ready else ""

    try:
        yield key
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
