"""`authsvc serve --workers N`: several processes behind one port, and one that owns them."""

import re
import socket
import urllib.request
from collections import Counter
from pathlib import Path

import grpc
import psutil

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1 import auth_service_pb2_grpc
from tests.parts import processes
from tests.parts.processes import Serving

_ALONE = (("grpc.use_local_subchannel_pool", 1),)


def _workers(serving: Serving) -> list[psutil.Process]:
    """The processes that listen, oldest first."""
    children = psutil.Process(serving.process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(_command(child))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _all_serve(serving: Serving, count: int = 2) -> None:
    serving.wait_for("serving")
    processes.until(lambda: sum("worker serving" in line for line in serving.lines) >= count, 60)


def _ask(address: str) -> grpc.StatusCode:
    """Ask whoever gets the new connection for the key set; how that ended."""
    with grpc.insecure_channel(address, _ALONE) as channel:
        try:
            auth_service_pb2_grpc.AuthServiceStub(channel).GetKeySet(pb.GetKeySetRequest(), timeout=20)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def _metrics(serving: Serving) -> str:
    address = serving.wait_for("serving")["metrics"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as response:
        text: str = response.read().decode()
        return text


def _values(page: str, name: str) -> list[float]:
    """Values of the samples with this name."""
    return [float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", page, re.MULTILINE)]


def _answered(page: str) -> float:
    """How many calls of `_ask` the page knows of."""
    pattern = r'^grpc_server_handled_total{.*grpc_method="GetKeySet".*} (\S+)$'
    return sum(float(value) for value in re.findall(pattern, page, re.MULTILINE))


def test_workers_share_one_port_and_one_page(settings: dict[str, str]) -> None:
    """Connections spread over the workers, and the one page of metrics adds up what all of them answered."""
    with processes.serve("--workers", "2", **settings, METRICS_LISTEN=":0") as serving:
        _all_serve(serving)

        outcomes = Counter(_ask(serving.address) for _ in range(24))
        page = _metrics(serving)

        assert outcomes == {grpc.StatusCode.OK: 24}
        assert _answered(page) == 24
        assert _values(page, "authsvc_workers") == [2.0]
        by_worker = re.findall(r'^process_open_fds\{worker="(\d)"\} ', page, re.MULTILINE)
        assert sorted(by_worker) == ["0", "1"]
        assert serving.terminate() == 0


def test_the_owner_loads_no_grpc(settings: dict[str, str]) -> None:
    """The process that starts others has never loaded gRPC, which does not survive being copied."""
    with processes.serve("--workers", "2", **settings) as serving:
        _all_serve(serving)

        owner = _loaded(psutil.Process(serving.process.pid))
        workers = [_loaded(worker) for worker in _workers(serving)]

        assert not [path for path in owner if "cygrpc" in path]
        assert all(any("cygrpc" in path for path in worker) for worker in workers)


def test_the_port_has_one_owner(settings: dict[str, str]) -> None:
    """A second server on the port of workers is refused as clearly as ever, with workers or without."""
    with processes.serve("--workers", "2", **settings) as serving:
        taken = serving.address

        alone = processes.run("serve", **settings | {"LISTEN": taken})
        several = processes.run("serve", "--workers", "2", **settings | {"LISTEN": taken})

        for second in (alone, several):
            assert second.returncode == 1
            assert second.stderr == f"authsvc: cannot listen on {taken}: is it in use?\n"


def test_a_crashed_worker_is_replaced(settings: dict[str, str]) -> None:
    """A worker killed -9 is started anew; meanwhile the other serves, and no counter runs back."""
    with processes.serve("--workers", "2", **settings, METRICS_LISTEN=":0") as serving:
        _all_serve(serving)
        for _ in range(8):
            _ask(serving.address)
        before = _answered(_metrics(serving))
        victim = _workers(serving)[0]

        victim.kill()
        serving.wait_for("a worker ended")
        meanwhile = [_ask(serving.address) for _ in range(8)]
        _all_serve(serving, 3)
        page = _metrics(serving)

        assert meanwhile == [grpc.StatusCode.OK] * 8
        assert before == 8
        assert _answered(page) == 16
        assert _values(page, "authsvc_worker_restarts_total") == [1.0]
        assert len(_workers(serving)) == 2


def test_workers_do_not_outlive_their_owner(settings: dict[str, str]) -> None:
    """When the process that owns the workers is killed -9, they end by themselves and give the port back."""
    with processes.serve("--workers", "2", **settings) as serving:
        _all_serve(serving)
        workers = _workers(serving)

        serving.process.kill()

        _, alive = psutil.wait_procs(workers, timeout=30)
        assert alive == []
        assert _can_bind(serving.address)


def test_what_keeps_workers_from_starting_is_said_once(settings: dict[str, str], tmp_path: Path) -> None:
    """Workers that cannot start end the server with their one clear sentence, said once, not in a loop."""
    ended = processes.run(
        "serve", "--workers", "3", **settings | {"DATABASE_URL": f"sqlite:///{tmp_path}/new.db"}
    )

    assert ended.returncode == 1
    assert ended.stderr.count("run `authsvc migrate` first") == 1
    assert ended.stderr.startswith("authsvc: ")


def test_wrong_settings_start_no_worker(settings: dict[str, str]) -> None:
    """Settings that cannot be used are refused before any worker starts, with exit status 2."""
    ended = processes.run("serve", "--workers", "2", **settings | {"SESSION_IDLE": "half an hour"})

    assert ended.returncode == 2
    assert ended.stderr.count("AUTHSVC_SESSION_IDLE") == 1


def test_a_unix_socket_has_one_owner(settings: dict[str, str], tmp_path: Path) -> None:
    """Workers cannot share a Unix socket, and say so."""
    ended = processes.run("serve", "--workers", "2", **settings | {"LISTEN": f"unix:{tmp_path}/socket"})

    assert ended.returncode == 1
    assert "workers need a TCP address" in ended.stderr


def _loaded(process: psutil.Process) -> list[str]:
    return [loaded.path for loaded in process.memory_maps()]


def _can_bind(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, int(port)))
    return True
