"""`authsvc audit`: what happened, listed and followed."""

import json
import subprocess
import sys
import threading
from typing import Any

from authsvc.commands.audit import Follower
from authsvc.v1 import admin_service_pb2 as pb
from tests.commands.conftest import Deployment
from tests.parts import processes

PASSWORD = "a long enough pass phrase"


def _run(deployment: Deployment, *arguments: str, stdin: str = "") -> Any:
    return processes.run(*arguments, stdin=stdin, **deployment.admin)


def _add_user(deployment: Deployment, name: str) -> str:
    ended = _run(deployment, "user", "create", name, "--password-stdin", "--json", stdin=PASSWORD)
    user_id: str = json.loads(ended.stdout)["user"]["id"]
    return user_id


def test_list(deployment: Deployment) -> None:
    """Events are listed by user and kind, newest first, as lines or as JSON."""
    ids = [_add_user(deployment, name) for name in ("anna", "bert")]
    _run(deployment, "user", "disable", "anna")

    lines = _run(deployment, "audit", "--user", "anna").stdout.splitlines()
    found = json.loads(_run(deployment, "audit", "--event", "user.created", "--since", "1h", "--json").stdout)
    nothing = _run(deployment, "audit", "--until", "2020-01-31T12:00Z")
    one = _run(deployment, "audit", "--limit", "1")

    assert [line.split("\t")[1] for line in lines] == ["user.disabled", "user.created"]
    assert all(ids[0] in line for line in lines)
    assert [event["user_id"] for event in found["events"]] == ids[::-1]
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert len(one.stdout.splitlines()) == 1


def test_wrong_use(deployment: Deployment) -> None:
    """A time that is none, and following to an end, are wrong use."""
    ended = [
        _run(deployment, "audit", *wrong) for wrong in (["--since", "soon"], ["--follow", "--until", "1h"])
    ]

    assert [each.returncode for each in ended] == [2, 2]
    assert "--since must be a time" in ended[0].stderr


def test_follow(deployment: Deployment) -> None:
    """What happens from now on is printed as it happens, one JSON object a line."""
    command = [sys.executable, "-m", "authsvc", "audit", "--follow", "--event", "user.created", "--json"]
    environment = processes.environment(deployment.admin)
    first = _add_user(deployment, "carl")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        lines: list[str] = []
        reading = threading.Thread(target=lambda: lines.extend(iter(following.stdout.readline, "")))  # type: ignore[union-attr]
        reading.start()
        processes.until(lambda: any(first in line for line in lines))

        second = _add_user(deployment, "dora")

        processes.until(lambda: any(second in line for line in lines))
        following.terminate()
        reading.join()
    assert [json.loads(line)["user_id"] for line in lines][-2:] == [first, second]


def test_late_event_is_not_missed() -> None:
    """An event that shows up late, below numbers seen already, is followed too, and none is shown twice."""
    log = {1, 2, 4}

    def read(after_id: int) -> list[pb.AuditEvent]:
        return [pb.AuditEvent(id=number) for number in sorted(log) if number > after_id][:2]

    follower = Follower(1, {2})
    shown = [[event.id for event in follower.new(read, at)] for at in (0.0, 1.0)]
    log.add(3)
    shown += [[event.id for event in follower.new(read, at)] for at in (2.0, 20.0)]

    assert shown == [[4], [], [3], []]
    assert follower.after_id == 4
    assert not follower.seen
