"""The command ``meterhouse-agent``."""

import argparse
import asyncio
import contextlib
import fcntl
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry

from meterhouse_agent import __version__
from meterhouse_agent.arguments import Parser
from meterhouse_agent.check import check
from meterhouse_agent.config import AgentConfig, ConfigError, load_config
from meterhouse_agent.loop import NodeAgent
from meterhouse_agent.metrics_server import metrics_served
from meterhouse_agent.spool import Spool, SpoolError, spool_path
from meterhouse_agent.telemetry import Metrics, Telemetry

_USAGE_ERROR: Final = 2
_FAILED: Final = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0, 1 for a failure, 2 for a wrong config."""
    options = _parser().parse_args(arguments)
    if options.command == "sample-config":
        print(sample_config(), end="")
        return 0
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        config = load_config(options.config)
        return int(options.do(config, options))
    except ConfigError as error:
        print("\n".join(error.faults), file=sys.stderr)
        return _USAGE_ERROR
    except (SpoolError, OSError) as error:
        print(error, file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return 0


def sample_config() -> str:
    """Return the text of agent.sample.toml, the only text about the config."""
    return resources.files("meterhouse_agent").joinpath("agent.sample.toml").read_text("utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="meterhouse-agent", description="Measure this node, or the meters of a building."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("sample-config", help="print a config file to start from")
    for name, text, do in (
        ("run", "measure and report until stopped", _run),
        ("check", "validate the config and try every source", _check),
        ("resend", "send the refused reports of the spool again", _resend),
        ("truth", "print what the simulated fleet did, as JSON", _truth),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("-c", "--config", type=Path, required=True, metavar="FILE")
        command.add_argument(
            "--log-level", default="info", choices=("debug", "info", "warning", "error")
        )
        command.set_defaults(do=do)
        if name == "truth":
            command.add_argument("--from", dest="start", type=int, required=True, metavar="SECONDS")
            command.add_argument("--to", dest="end", type=int, required=True, metavar="SECONDS")
            command.add_argument(
                "--each", action="store_true", help="one line of JSON for each interval"
            )
    return parser


def _run(config: AgentConfig, options: argparse.Namespace) -> int:
    del options
    for secret in config.secrets().values():
        secret.hold()
    with _only_one(config):
        asyncio.run(_serve(config))
    return 0


@contextlib.contextmanager
def _only_one(config: AgentConfig) -> Iterator[None]:
    """Keep a second agent from the same spools: both would tell the energy of the same gap."""
    path = spool_path(config.spool.directory, config.nodes[0]).with_suffix(".lock")
    with contextlib.ExitStack() as held:
        # A folder that cannot be written is told of when the spool is opened, and borne.
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(path.open("wb"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = f"{path}: held by another agent of this node: stop that first"
                raise SpoolError(text) from None
        yield


async def _serve(config: AgentConfig) -> None:
    metrics = Metrics(CollectorRegistry())
    agents = {node: NodeAgent(config, node, Telemetry(metrics, node)) for node in config.nodes}
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as served:
        if config.metrics is not None:
            served.enter_context(metrics_served(config.metrics, metrics.registry))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_raise_when(stop), name="stop")
                for node, agent in agents.items():
                    tasks.create_task(agent.run(), name=f"agent[{node}]")
        except* _Stopped:
            pass


class _Stopped(Exception):  # noqa: N818 - no error
    """A signal asked the agent to stop."""


async def _raise_when(stop: asyncio.Event) -> None:
    await stop.wait()
    raise _Stopped


def _check(config: AgentConfig, options: argparse.Namespace) -> int:
    del options
    rows, good = asyncio.run(check(config))
    for row in rows:
        print(row)
    return 0 if good else _FAILED


def _resend(config: AgentConfig, options: argparse.Namespace) -> int:
    del options

    async def resend(path: Path) -> int:
        spool = Spool(path, config.spool.max_bytes)
        try:
            await spool.open()
            return await spool.resend()
        finally:
            await spool.close()

    for node in config.nodes:
        path = spool_path(config.spool.directory, node)
        # Whoever asks may not be the agent's user, who could not write a file made here.
        count = asyncio.run(resend(path)) if path.exists() else 0
        print(f"{node}: {count} reports put back in the queue")
    return 0


def _truth(config: AgentConfig, options: argparse.Namespace) -> int:
    # Only the simulator knows the truth, and only those who ask for it pay for its import.
    from meterhouse_agent.simulation.truth import truth_by_interval, truth_json  # noqa: PLC0415
    from meterhouse_agent.sources.simulated import Config  # noqa: PLC0415

    for section in config.source:
        if isinstance(section, Config):
            window = (section.fleet, options.start, options.end, config.interval_seconds)
            if options.each:
                for each in truth_by_interval(*window):
                    print(msgspec.json.encode(each).decode())
            else:
                print(truth_json(*window))
            return 0
    print("no source of kind simulated in the config: only a simulation knows", file=sys.stderr)
    return _USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
