"""``top`` shows what the page's API says, by pool and node, and says plainly what is wrong."""

import asyncio
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grafana.look import COLOURS as BOARDS
from meterhouse_agent import wire
from meterhouse_collector.__main__ import main
from meterhouse_collector.commands.fleet_rows import (
    SORTS,
    parse_filter,
    pools_of,
    sum_of,
    sum_of_all,
    within,
)
from meterhouse_collector.commands.top import Choice
from meterhouse_collector.commands.top_view import COLOURS
from meterhouse_collector.config import PageConfig
from meterhouse_collector.web.nodes import NodeView
from meterhouse_collector.web.server import PageServer
from tests.security.http_guarded import PASSWORD, TOKEN, USER, secret_files
from tests.stand_ins.live_site import LiveSite

WAIT_SECONDS = 60.0
Once = Callable[..., Awaitable[tuple[int, str, str]]]


def view(
    name: str,
    pool: str = "p",
    *,
    active: float = 4,
    free: float = 0,
    power: float | None = None,
    money: float | None = 1.0,
) -> NodeView:
    states: dict[wire.State, float] = dict.fromkeys(wire.STATES, 0.0)
    states |= {"active": active, "free": free}
    return NodeView(
        name=name,
        pool=pool,
        cluster="c",
        tenant="t",
        devices=round(active + free),
        states=states,
        power_watts=power,
        whole_node=True,
        output_tokens_per_second=None,
        money_per_hour=money,
        heard=power is not None,
        registered=True,
    )


NODES = (
    view("n1", "a", power=10.0),
    view("n2", "a", power=30.0, active=1, free=3),
    view("n3", "a"),
    view("n4", "b", power=20.0, money=None),
)


def shown(sort: str = "name", words: str = "", *, turned: bool = False) -> list[list[str]]:
    pools = pools_of(NODES, parse_filter(words), sort, turned=turned)
    return [[node.name for node in pool.nodes] for pool in pools]


@pytest.mark.parametrize(
    ("sort", "turned", "order"),
    [
        ("name", False, ["n1", "n2", "n3"]),
        ("name", True, ["n3", "n2", "n1"]),
        ("power", False, ["n2", "n1", "n3"]),
        # What is not known is last either way.
        ("power", True, ["n1", "n2", "n3"]),
        ("idle", False, ["n2", "n1", "n3"]),
    ],
)
def test_nodes_are_in_order(sort: str, order: list[str], *, turned: bool) -> None:
    assert shown(sort, turned=turned) == [order, ["n4"]]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("pool=b", [["n4"]]),
        ("state=free", [["n2"]]),
        ("n", [["n1", "n2", "n3"], ["n4"]]),
        ("node=n1 pool=b", []),
        ("tenant=t cluster=c 3", [["n3"]]),
    ],
)
def test_a_filter_leaves_what_all_its_words_mean(words: str, found: list[list[str]]) -> None:
    assert shown(words=words) == found


@pytest.mark.parametrize("words", ["colour=red", "state=busy", "pool="])
def test_a_wrong_filter_says_what_is_allowed(words: str) -> None:
    with pytest.raises(ValueError, match="allowed: "):
        parse_filter(words)


def test_a_sum_is_of_what_is_known() -> None:
    whole = sum_of(NODES)
    assert (whole.nodes, whole.devices) == (4, 16)
    assert (whole.power_watts, whole.money_per_hour) == (60.0, 3.0)
    assert whole.output_tokens_per_second is None
    assert (whole.states["active"], whole.states["free"]) == (13, 3)


@given(st.lists(st.floats(0, 1e6) | st.none(), max_size=8), st.sampled_from(SORTS), st.booleans())
def test_every_order_has_every_node(powers: list[float | None], sort: str, turned: bool) -> None:  # noqa: FBT001 - drawn
    nodes = [view(f"n{at}", power=power) for at, power in enumerate(powers)]
    found = [n for pool in pools_of(nodes, [], sort, turned=turned) for n in pool.nodes]
    assert sorted(node.name for node in found) == sorted(node.name for node in nodes)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(-3, 90))
def test_as_many_nodes_are_shown_as_there_are_lines(sizes: list[int], lines: int) -> None:
    nodes = [
        view(f"n{at}", pool=f"p{pool}") for pool, size in enumerate(sizes) for at in range(size)
    ]
    found = within(pools_of(nodes, [], "name"), lines)
    shown_of = [len(pool.nodes) for pool in found]
    used = [n + (n < size) for n, size in zip(shown_of, sizes, strict=True)]
    if lines >= len(sizes):
        assert sum(used) <= lines
        # None is left out while there is a line for it.
        assert sum(used) == min(lines, sum(sizes))
    assert [pool.whole.nodes for pool in found] == sizes
    assert sum_of_all(found) == sum_of(nodes)


def test_keys_choose() -> None:
    choice = Choice("name", "state=free")
    assert choice.press("s", ["a", "b"])
    assert choice.sort == "idle"
    for pool in ("a", "b", None):
        choice.press("f", ["a", "b"])
        assert choice.pool == pool
    choice.press("f", ["a", "b"])
    assert choice.filter() == "state=free pool=a"
    choice.press("n", [])
    choice.press("r", [])
    assert (choice.nodes, choice.turned) == (False, True)
    assert choice.press("x", [])
    assert not choice.press("q", [])


def test_its_colours_are_those_of_the_boards() -> None:
    assert {state: BOARDS[state] for state in wire.STATES} == COLOURS


@pytest.fixture
async def page() -> AsyncIterator[PageServer]:
    site = await filled()
    async with site.served() as server:
        yield server


async def filled() -> LiveSite:
    site = LiveSite()
    for number in range(3):
        await site.interval(number, tokens=900, silent=("n2",) if number == 2 else ())
    return site


@pytest.fixture
def once(capsys: pytest.CaptureFixture[str]) -> Once:
    """Run the command once: its exit code, and what it printed."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        # In a thread, because the page is served here.
        code = await asyncio.to_thread(main, ["top", "--once", *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


async def test_a_script_gets_the_nodes_of_the_page(page: PageServer, once: Once) -> None:
    code, out, error = await once(page.address, "--sort", "power")
    assert (code, error) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "\x1b" not in out
    assert lines["chat"].split()[1:3] == ["1", "nodes"]
    # n1: 13 of its 20 device-seconds active; 900 tokens in 5 seconds.
    cells = lines["n1"].split()[-9:]
    assert cells[:5] == ["2.6", "0.4", "1", "0", "0"]
    assert cells[7] == "180"
    assert "n2 (silent)" in out
    assert lines["n2"].split()[-1] == "—"
    assert lines["site"].startswith("site  iPUE ")


async def test_a_filter_is_for_a_script_too(page: PageServer, once: Once) -> None:
    code, out, _ = await once(page.address, "--filter", "pool=spare")
    assert code == 0
    assert "n1" not in out
    code, _, error = await once(page.address, "--filter", "pol=spare")
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("--filter: found 'pol=spare': allowed: ")


async def test_a_login_opens_it(tmp_path: Path, once: Once) -> None:
    site = await filled()
    config = PageConfig.model_validate({"port": 0, **secret_files(tmp_path)})
    token, password = tmp_path / "t", tmp_path / "p"
    token.write_text(TOKEN)
    password.write_text(PASSWORD)
    for file in (token, password):
        file.chmod(0o600)
    async with site.served(config=config) as page:
        code, _, error = await once(page.address)
        assert (code, error.count("\n")) == (1, 1)
        assert "it wants a login: give --token-file" in error
        assert (await once(page.address, "--token-file", str(token)))[0] == 0
        login = ("--username", USER, "--password-file", str(password))
        assert (await once(page.address, *login))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("http://127.0.0.1:1/",), 1, "cannot be reached"),
        (("ftp://127.0.0.1/",), 2, "address: found 'ftp://127.0.0.1/'"),
        (("--username", "me"), 2, "give --username and --password-file together"),
        (("--token-file", "/missing"), 2, "--token-file: "),
    ],
)
async def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], code: int, words: str, once: Once
) -> None:
    found, out, error = await once(*arguments)
    assert (found, out, error.count("\n")) == (code, "", 1)
    assert words in error


async def test_a_login_is_not_sent_in_the_open(tmp_path: Path, once: Once) -> None:
    token = tmp_path / "t"
    token.write_text(TOKEN)
    token.chmod(0o600)
    code, _, error = await once("http://192.0.2.1/", "--token-file", str(token))
    assert code == 2
    assert "a login wants https" in error


async def test_another_server_is_no_page(once: Once) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        code, _, error = await once(f"http://127.0.0.1:{port}/")
    assert code == 1
    assert error.endswith("no collector's page answers there\n")


async def test_keys_work_on_a_terminal(page: PageServer) -> None:
    printed = await asyncio.to_thread(on_terminal, page.address)
    assert b"by name" in printed
    assert b"by idle" in printed
    assert b"only pool=chat" in printed


def on_terminal(address: str) -> bytes:
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "meterhouse_collector", "top", address],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(its)
    printed = b""
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        for key, words in ((b"s", b"by name"), (b"f", b"by idle"), (b"q", b"only pool=chat")):
            while words not in printed:
                assert time.monotonic() < deadline, printed
                if select.select([ours], [], [], 1.0)[0]:
                    printed += os.read(ours, 65_536)
            os.write(ours, key)
        while select.select([ours], [], [], 0.2)[0]:
            try:
                printed += os.read(ours, 65_536)
            except OSError:
                break
        assert process.wait(WAIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return printed
