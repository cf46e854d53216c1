"""Owns Envoy's question about a request (ext_authz), as a method of (request, call). Leaves judging to core.gate.

A refusal is an answer here: Envoy sends it to whoever asked, as JSON, as a gRPC status or as the way to the login page.
What nobody can judge, a route whose wishes make no sense among it, ends the call with an error; then Envoy lets nobody
through.
"""

from collections.abc import Mapping

from google.rpc import status_pb2

from authsvc.core.errors import InvalidRequest
from authsvc.core.gate import Admitted, Arrival, Gate, Wishes, WishesUnusable, login_address, read_wishes
from authsvc.envoy import authorization_service_pb2 as envoy
from authsvc.rpc.call import Call
from authsvc.rpc.errors import Status, Statuses
from authsvc.rpc.over_http import http_code, http_headers, json_body

_OVERWRITE = 2
_SEE_OTHER = 303


class AuthorizationServicer:
    """envoy.service.auth.v3.Authorization."""

    def __init__(self, gate: Gate, statuses: Statuses) -> None:
        self._gate = gate
        self._statuses = statuses

    async def Check(self, request: envoy.CheckRequest, call: Call) -> envoy.CheckResponse:
        http = request.attributes.request.http
        arrival, wishes = _arrival(http), _wishes(request.attributes.context_extensions)
        try:
            return _passes(await self._gate.admit(arrival, wishes, call.caller))
        except Exception as error:
            status = self._statuses.of(error)
            if status is None:
                raise
            return _refused(status, arrival, wishes, http.headers.get("content-type", ""))


def _wishes(given: Mapping[str, str]) -> Wishes:
    try:
        return read_wishes(given)
    except WishesUnusable as error:
        raise InvalidRequest(("attributes.context_extensions", str(error))) from None


def _arrival(http: envoy.AttributeContext.HttpRequest) -> Arrival:
    def given(name: str) -> tuple[str, ...]:
        value = http.headers.get(name)
        return () if value is None else (value,)

    return Arrival(
        method=http.method,
        target=http.path,
        cookies=given("cookie"),
        authorization=given("authorization"),
        origins=given("origin"),
        sites=given("sec-fetch-site"),
        accept=http.headers.get("accept", ""),
        upgrade=http.headers.get("upgrade", ""),
    )


def _passes(admitted: Admitted) -> envoy.CheckResponse:
    changed = envoy.OkHttpResponse(
        headers=_headers(admitted.headers), headers_to_remove=sorted(admitted.removed)
    )
    return envoy.CheckResponse(status=status_pb2.Status(), ok_response=changed)


def _refused(status: Status, arrival: Arrival, wishes: Wishes, content_type: str) -> envoy.CheckResponse:
    code = http_code(status)
    page = login_address(arrival, wishes) if code == 401 else None
    if page is not None:
        code, body = _SEE_OTHER, ""
        headers: Mapping[str, str] = {"cache-control": "no-store", "location": page}
    else:
        is_grpc = content_type.startswith("application/grpc")
        body = status.message if is_grpc else json_body(status)
        headers = http_headers(code)
    denied = envoy.DeniedHttpResponse(
        status=envoy.HttpStatus(code=code), headers=_headers(headers), body=body
    )
    return envoy.CheckResponse(status=status_pb2.Status(code=status.code.value[0]), denied_response=denied)


def _headers(values: Mapping[str, str]) -> list[envoy.HeaderValueOption]:
    return [
        envoy.HeaderValueOption(header=envoy.HeaderValue(key=name, value=value), append_action=_OVERWRITE)
        for name, value in values.items()
    ]
