"""Real servers for tests: each with a port and a folder of its own, and killed at the end."""

import contextlib
import fcntl
import getpass
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import pytest

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
# Below the range that the kernel gives to outgoing connections, or one of those
# could take a server's port between its stop and its start.
PORTS = range(20_000, 30_000)


class ServerError(Exception):
    """A server did not start, or refused a request."""


def binary(name: str) -> str:
    """Return the path of a program from PATH or the cache of `make tools`."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("METERHOUSE_CACHE") or Path(user_cache, "meterhouse"))
    # Debian keeps mosquitto in /usr/sbin, which a user's PATH often leaves out.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(cache / "bin"), "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.fail(f"{name} is missing: run make tools", pytrace=False)
    return found


class Port:
    """A free port of the loopback, kept from other test processes until it is released."""

    def __init__(self) -> None:
        folder = Path(tempfile.gettempdir(), f"meterhouse-ports-{os.getuid()}")
        folder.mkdir(exist_ok=True)
        for number in random.sample(PORTS, len(PORTS)):
            # The kernel drops the lock with the process, however that ends.
            lock = os.open(folder / str(number), os.O_CREAT | os.O_RDWR, 0o600)
            if self._take(lock, number):
                self.number = number
                self._lock = lock
                return
            os.close(lock)
        raise ServerError(f"no free port from {PORTS.start} to {PORTS.stop - 1}")

    @staticmethod
    def _take(lock: int, number: int) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", number))
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Let others have the port; a second call does nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class Server(ABC):
    """A child process on a loopback port; as a context manager it runs inside the block.

    `folder` holds its data, its configuration and `log`, all it printed.
    It may be stopped or killed and started again, on the same port with the same folder.
    """

    program: str

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / f"{self.program}.log"
        self._port = Port()
        self.port = self._port.number
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _arguments(self) -> list[str]:
        """Write the configuration and return the command's arguments."""

    @abstractmethod
    def _answers(self) -> bool:
        """Tell whether the server serves."""

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise ServerError(f"{self.program} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the server and return when it serves."""
        if self._process is not None:
            raise ServerError(f"{self.program} is already running")
        command = [binary(self.program), *self._arguments()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            code = process.poll()
            if code is not None:
                raise ServerError(f"{self.program} ended with {code}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.program} serves not after {READY_SECONDS:.0f} s:\n{self.log_tail()}"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask the server to end, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server and start it again on the same port."""
        self.stop()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerError(f"{self.program} did not stop:\n{self.log_tail()}") from None

    def log_tail(self, size: int = 8_000) -> str:
        """Return the end of what the server printed."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def close(self) -> None:
        """Kill the server and give its port back."""
        self.kill()
        self._port.release()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Mosquitto(Server):
    """A Mosquitto broker.

    `conf` is the text of its configuration, in which `{port}` and `{folder}` are filled in;
    without one, anybody may do anything on the loopback, and nothing is kept on disk.
    """

    program = "mosquitto"
    anonymous = "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"

    def __init__(self, folder: Path, conf: str | None = None) -> None:
        super().__init__(folder)
        self.conf = self.anonymous if conf is None else conf

    def _arguments(self) -> list[str]:
        text = self.conf.replace("{port}", str(self.port)).replace("{folder}", str(self.folder))
        path = self.folder / "mosquitto.conf"
        # Started as root it would become another user, who may not read this folder.
        path.write_text(f"user {getpass.getuser()}\n{text}")
        return ["-c", str(path)]

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class InfluxDB(Server):
    """An InfluxDB 2 with the organisation `meterhouse`, an all-access token and one bucket."""

    program = "influxd"
    org = "meterhouse"
    bucket = "initial"
    token = "token-of-the-tests"

    @property
    def url(self) -> str:
        """The address of its HTTP interface."""
        return f"http://127.0.0.1:{self.port}"

    def _arguments(self) -> list[str]:
        return [
            *("--bolt-path", str(self.folder / "influxd.bolt")),
            *("--sqlite-path", str(self.folder / "influxd.sqlite")),
            *("--engine-path", str(self.folder / "engine")),
            *("--http-bind-address", f"127.0.0.1:{self.port}"),
            *("--log-level", "error"),
            "--reporting-disabled",
        ]

    def _answers(self) -> bool:
        try:
            self.request("GET", "/health")
        except (OSError, http.client.HTTPException, ServerError):
            return False
        return True

    def start(self) -> None:
        """Start the server and return when it serves; set it up the first time."""
        super().start()
        if not self.request("GET", "/api/v2/setup")["allowed"]:
            return
        names = {"username": "admin", "org": self.org, "bucket": self.bucket}
        secrets = {"password": "password-of-the-tests", "token": self.token}
        self.request("POST", "/api/v2/setup", json.dumps(names | secrets))

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def request(self, method: str, path: str, body: str | None = None) -> Any:  # noqa: ANN401 - JSON
        """Return what the HTTP interface answered, decoded; None for nothing."""
        connection = self._connection()
        try:
            headers = {"Authorization": f"Token {self.token}"}
            data = None if body is None else body.encode()
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise ServerError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text) if text else None

    def make_bucket(self, name: str) -> None:
        """Make a bucket that keeps everything."""
        org_id = self.request("GET", f"/api/v2/orgs?{urlencode({'org': self.org})}")["orgs"][0][
            "id"
        ]
        self.request("POST", "/api/v2/buckets", json.dumps({"orgID": org_id, "name": name}))

    def write(self, bucket: str, lines: str) -> None:
        """Write line protocol with times in seconds."""
        to = urlencode({"org": self.org, "bucket": bucket, "precision": "s"})
        self.request("POST", f"/api/v2/write?{to}", lines)

    def influxql(self, db: str, query: str) -> list[dict[str, Any]]:
        """Return the rows of all series with their tags; times are in seconds."""
        answer = self.request("GET", f"/query?{urlencode({'db': db, 'q': query, 'epoch': 's'})}")
        rows: list[dict[str, Any]] = []
        for result in answer["results"]:
            if "error" in result:
                raise ServerError(f"{query}: {result['error']}")
            for series in result.get("series", []):
                tags = series.get("tags", {})
                rows += [
                    tags | dict(zip(series["columns"], row, strict=True))
                    for row in series["values"]
                ]
        return rows


class Alertmanager(Server):
    """An Alertmanager on its own, which groups and notifies nobody."""

    program = "prometheus-alertmanager"

    @property
    def url(self) -> str:
        """The address of its HTTP interface."""
        return f"http://127.0.0.1:{self.port}"

    def _arguments(self) -> list[str]:
        path = self.folder / "alertmanager.yml"
        path.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        return [
            f"--config.file={path}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def _answers(self) -> bool:
        try:
            self.alerts()
        except (OSError, http.client.HTTPException, ServerError):
            return False
        return True

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that fire, as API v2 tells of them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", "/api/v2/alerts")
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise ServerError(f"alerts: {answer.status} {text.decode(errors='replace')}")
        found: list[dict[str, Any]] = json.loads(text)
        return found


class Nats(Server):
    """One server of a NATS cluster with JetStream, spoken to by MQTT; ``cluster`` makes several.

    Anybody may do anything on the loopback.
    """

    program = "nats-server"
    conf = (
        "server_name: {name}\nlisten: 127.0.0.1:{clients}\n"
        "jetstream {{ store_dir: {folder}/jetstream, max_memory_store: 256MB, "
        "max_file_store: 1GB }}\n"
        "cluster {{ name: meterhouse, listen: 127.0.0.1:{routes}, routes: [{peers}] }}\n"
        "mqtt {{ listen: 127.0.0.1:{port} }}\n"
    )

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self.name = name
        self._more = (Port(), Port())
        self.peers: list[Nats] = [self]

    @property
    def client_port(self) -> int:
        """The port on which programs of NATS itself come."""
        return self._more[0].number

    @property
    def route_port(self) -> int:
        """The port on which the servers of the cluster speak to each other."""
        return self._more[1].number

    def _arguments(self) -> list[str]:
        peers = ", ".join(f"nats-route://127.0.0.1:{peer.route_port}" for peer in self.peers)
        text = self.conf.format(
            name=self.name,
            clients=self.client_port,
            routes=self.route_port,
            port=self.port,
            peers=peers,
            folder=self.folder,
        )
        path = self.folder / "nats.conf"
        path.write_text(text)
        return ["-c", str(path)]

    def _answers(self) -> bool:
        # The listener opens before there is a leader; until then it takes no session.
        return mqtt_answers(self.port)

    def close(self) -> None:
        """Kill the server and give its ports back."""
        super().close()
        for port in self._more:
            port.release()


def mqtt_answers(port: int, tls: ssl.SSLContext | None = None) -> bool:
    """Tell whether a broker on the loopback answers a connection without a password."""
    connect = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x0a\x00\x06answer"
    try:
        with contextlib.ExitStack() as stack:
            connection = socket.create_connection(("127.0.0.1", port), timeout=3)
            stack.enter_context(connection)
            if tls is not None:
                connection = tls.wrap_socket(connection, server_hostname="127.0.0.1")
                stack.enter_context(connection)
            connection.sendall(connect)
            return connection.recv(4)[:1] == b"\x20"
    except OSError:
        return False


class NatsCluster:
    """Three servers; as a context manager they run inside the block."""

    def __init__(self, folder: Path, kind: type[Nats] = Nats) -> None:
        self.servers = [kind(folder / name, name) for name in ("n1", "n2", "n3")]
        for server in self.servers:
            server.peers = self.servers

    def start(self) -> None:
        """Start all servers, and return when each serves: none does before two are there."""
        with ThreadPoolExecutor(len(self.servers)) as pool:
            for _ in pool.map(Nats.start, self.servers):
                pass

    def close(self) -> None:
        """Kill all servers."""
        for server in self.servers:
            server.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
