"""The service config that channels to authsvc get."""

import json

from authsvc.rpc.policy import POLICY
from authsvc_client import CHANNEL_OPTIONS, SERVICE_CONFIG
from authsvc_client.service_config import LOGIN, READS, REFRESH, REVOKE, service_config


def _retried(config: str) -> dict[str, int]:
    """How often each method may be tried."""
    return {
        f"{name['service']}/{name['method']}": each["retryPolicy"]["maxAttempts"]
        for each in json.loads(config)["methodConfig"]
        if "retryPolicy" in each
        for name in each["name"]
    }


def test_every_read_is_repeated_and_nothing_that_could_do_harm() -> None:
    """What only reads is tried again, and of what writes only Revoke and Refresh, which do no harm twice."""
    ours = {name: row for name, row in POLICY.items() if name.startswith("authsvc.v1.")}
    reads = {name for name, row in ours.items() if not row.writes and not name.endswith("/Watch")}

    assert set(READS) == reads
    assert set(_retried(SERVICE_CONFIG)) == {*READS, REVOKE, REFRESH}
    assert LOGIN not in _retried(SERVICE_CONFIG)


def test_a_successor_is_not_asked_for_too_often() -> None:
    """Refresh is sent no more often than the server answers the same token; once, by those who count themselves."""
    once = service_config(repeat_refresh=False)

    assert _retried(SERVICE_CONFIG)[REFRESH] == 3
    assert REFRESH not in _retried(once)


def test_the_options_carry_it() -> None:
    """A channel opened with the options has the config."""
    assert dict(CHANNEL_OPTIONS)["grpc.service_config"] == SERVICE_CONFIG
