"""The policy: which rule counts for a method, and which mistakes keep a server from starting."""

import pytest

from authsvc.v1 import auth_service_pb2
from authsvc_client import (
    Policy,
    PolicyMistaken,
    Rule,
    Verifier,
    authenticated,
    public,
    scopes,
    server_interceptor,
    sync_server_interceptor,
)
from tests.client.strict_minting import ISSUER

AUTH = "authsvc.v1.AuthService"


def test_the_most_specific_rule_counts() -> None:
    """A method's own rule comes before its service's, that before the longest prefix, that before shorter ones."""
    rules = {
        "a.v1.S/M": scopes("method"),
        "a.v1.S": scopes("service"),
        "a.v1.*": scopes("longer"),
        "a.*": scopes("shorter"),
        "*": scopes("any"),
    }
    policy = Policy(rules)

    found = [policy.get(f"/{name}") for name in ("a.v1.S/M", "a.v1.S/N", "a.v1.T/M", "a.v2.S/M", "b.S/M")]

    assert found == list(rules.values())


def test_what_no_rule_covers_has_none() -> None:
    """Deny by default, also for what merely begins alike."""
    policy = Policy({"a.v1.S": authenticated(), "/a.v1.T/M": authenticated()})

    found = [policy.get(f"/{name}") for name in ("a.v1.SX/M", "a.v1.T/N", "a.v1.T/MX", "b/M", "")]

    assert found == [None] * 5


def test_health_and_reflection_are_exempt_unless_named() -> None:
    """Probes and command-line tools bring no token; a rule of their own comes first, a mere prefix does not."""
    open_ = Policy({"*": authenticated()})
    closed = Policy({"grpc.health.v1.Health": scopes("probe")})

    assert open_.get("/grpc.health.v1.Health/Check") == public()
    assert open_.get("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo") == public()
    assert open_.get("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo") == public()
    assert open_.get("/grpc.channelz.v1.Channelz/GetServers") == authenticated()
    assert closed.get("/grpc.health.v1.Health/Check") == scopes("probe")


@pytest.mark.parametrize("make", [server_interceptor, sync_server_interceptor])
@pytest.mark.parametrize(
    "name", [f"{AUTH}/Logon", "authsvc.v1.AuthSrvice", "authsvc.v2.*", "authsvc.v1.AuthSrvice/Login"]
)
def test_a_name_that_the_server_does_not_have_is_a_mistake(make: object, name: str) -> None:
    """A rule for nothing guards nothing, so the server must not start; the message names it."""
    policy = Policy({AUTH: authenticated(), name: public()})

    with pytest.raises(PolicyMistaken, match=name.replace("*", r"\*")):
        make(Verifier(ISSUER, "orders"), policy, services=[auth_service_pb2])  # type: ignore[operator]


@pytest.mark.parametrize("name", [f"{AUTH}/Logon", "authsvc.v1.AuthSrvice", "authsvc.*"])
def test_without_services_names_are_looked_up_among_the_imported(name: str) -> None:
    """Also without being told what the server has, a wrong name is found; a prefix then cannot be checked at all."""
    policy = Policy({f"{AUTH}/Login": public(), AUTH: authenticated(), "*": authenticated(), name: public()})

    with pytest.raises(PolicyMistaken):
        policy.check()


def test_a_right_policy_passes_however_the_services_are_given() -> None:
    """Modules, descriptors of files and services, and plain names all say what a server has."""
    policy = Policy(
        {f"{AUTH}/Login": public(), AUTH: authenticated(), "authsvc.*": scopes("a"), "*": public()}
    )
    descriptor = auth_service_pb2.DESCRIPTOR

    policy.check([auth_service_pb2])
    policy.check([descriptor])
    policy.check([descriptor.services_by_name["AuthService"]])
    policy.check([f"{AUTH}/Login"])
    Policy({f"{AUTH}/Login": public(), "grpc.health.v1.Health": public()}).check()


@pytest.mark.parametrize("name", ["", "a b", "a/b/c", "a*b", "a/", "/"])
def test_what_names_nothing_is_refused(name: str) -> None:
    """A rule must be named by method, service or prefix."""
    with pytest.raises(PolicyMistaken):
        Policy({name: public()})


def test_a_method_named_twice_is_refused() -> None:
    """With and without the slash are the same method: which of two rules counts must not be left to chance."""
    with pytest.raises(PolicyMistaken):
        Policy({"a.S/M": public(), "/a.S/M": authenticated()})


@pytest.mark.parametrize("names", [(), ("",), ("a b",), ("ok", 'a"b')])
def test_scopes_must_be_scopes(names: tuple[str, ...]) -> None:
    """No scopes, or what no token can carry, is a mistake, never a rule that lets everybody in."""
    with pytest.raises(PolicyMistaken):
        scopes(*names)


def test_only_public_is_public() -> None:
    """A rule made by hand guards unless it says otherwise."""
    assert not Rule().is_public
    assert public().is_public
