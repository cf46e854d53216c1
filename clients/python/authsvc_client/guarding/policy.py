"""Owns who may call what: a rule for each method, and none means no. Leaves judging a caller to the interceptors.

Rules are named by method (`orders.v1.Orders/GetOrder`), service (`orders.v1.Orders`) or prefix (`orders.v1.*`); the
most specific one counts. A name that the server does not have is a mistake that must stop it from starting: a rule
that was meant to guard something guards nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

# What orchestrators and command-line tools call without a token. A rule that names them comes first.
EXEMPT: Final = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
)

_NAME: Final = re.compile(r"[\w.]+(?:/\w+)?|[\w./]*\*", re.ASCII)
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+")  # RFC 6749 §3.3
_REMEMBERED: Final = 4_096

Services = Iterable[ServiceDescriptor | FileDescriptor | ModuleType | str]
"""What a server has: generated `…_pb2` modules, descriptors, or full names of methods, `package.Service/Method`."""


class PolicyMistaken(Exception):
    """The policy cannot be used; the message lists everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a call must bring: every one of `scopes`. `strict`: it must not be older news than the staleness bound
    that its token is not revoked."""

    scopes: frozenset[str] = frozenset()
    strict: bool = False
    is_public: bool = False


PUBLIC: Final = Rule(is_public=True)


def public() -> Rule:
    """Anybody may call; a token is not even looked at."""
    return PUBLIC


def authenticated(*, strict: bool = False) -> Rule:
    """Anybody with a good token may call, whatever its scopes."""
    return Rule(strict=strict)


def scopes(*names: str, strict: bool = False) -> Rule:
    """A token with every one of these scopes may call. Raises PolicyMistaken for none, or for what is no scope."""
    if not names or not all(_SCOPE.fullmatch(name) for name in names):
        raise PolicyMistaken("scopes need names of printable ASCII; authenticated() asks for none")
    return Rule(frozenset(names), strict)


class Policy:
    """The rules of one server. Deny by default: what no rule covers, nobody may call."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        """Raises PolicyMistaken for a name that is no method, service or prefix."""
        names = {name.removeprefix("/"): rule for name, rule in rules.items()}
        bad = sorted(name for name in names if not _NAME.fullmatch(name))
        if bad or len(names) < len(rules):
            raise PolicyMistaken(f"not methods, services or prefixes, or named twice: {', '.join(bad)}")
        prefixes = [name[:-1] for name in names if name.endswith("*")]
        self._rules = names
        self._prefixes = sorted(prefixes, key=len, reverse=True)
        self._found: dict[str, Rule | None] = {}

    def get(self, method: str) -> Rule | None:
        """The rule for a method as gRPC names it, `/package.Service/Method`. None: nobody may call it."""
        if method in self._found:
            return self._found[method]
        rule = self._find(method.removeprefix("/"))
        if len(self._found) < _REMEMBERED:
            self._found[method] = rule
        return rule

    def check(self, services: Services | None = None) -> None:
        """Return if the server has everything the policy names. Raises PolicyMistaken.

        Without `services`, names are looked up among all services whose generated module has been imported.
        """
        strays = (
            _unknown_here(self._rules) if services is None else _unknown(self._rules, methods_of(services))
        )
        if strays:
            raise PolicyMistaken(f"the server does not have {', '.join(strays)}")

    def _find(self, name: str) -> Rule | None:
        service = name.partition("/")[0]
        rule = self._rules.get(name) or self._rules.get(service)
        if rule is not None:
            return rule
        if service in EXEMPT:
            return PUBLIC
        return next((self._rules[f"{each}*"] for each in self._prefixes if name.startswith(each)), None)


def methods_of(services: Services) -> set[str]:
    """Every method of these services, `package.Service/Method`."""
    return {name for each in services for name in _methods(each)}


def _methods(given: Any) -> Iterator[str]:
    if isinstance(given, str):
        yield given.removeprefix("/")
        return
    descriptor = getattr(given, "DESCRIPTOR", given)
    found = getattr(descriptor, "services_by_name", {descriptor.name: descriptor})
    for service in found.values():
        yield from (f"{service.full_name}/{method.name}" for method in service.methods)


def _unknown(names: Iterable[str], methods: set[str]) -> list[str]:
    services = {method.partition("/")[0] for method in methods} | EXEMPT
    return sorted(name for name in names if not _is_known(name, methods, services))


def _is_known(name: str, methods: set[str], services: Iterable[str]) -> bool:
    if name.endswith("*"):
        return any(method.startswith(name[:-1]) for method in methods)
    if "/" in name and name.partition("/")[0] not in EXEMPT:
        return name in methods
    return name.partition("/")[0] in services


def _unknown_here(names: Iterable[str]) -> list[str]:
    """The names that no imported module describes. A prefix can only be checked against named services."""
    prefixes = [name for name in names if name.endswith("*") and name != "*"]
    if prefixes:
        raise PolicyMistaken(f"pass `services`, so that these can be checked: {', '.join(sorted(prefixes))}")
    named = [name for name in names if name != "*"]
    pool = descriptor_pool.Default()
    methods: set[str] = set()
    for service in {name.partition("/")[0] for name in named} - EXEMPT:
        try:
            methods |= methods_of([pool.FindServiceByName(service)])
        except KeyError:
            continue
    return _unknown(named, methods)
