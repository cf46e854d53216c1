"""The same through real Envoy as native gRPC and as gRPC-Web; and the orders example behind it."""

from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from authsvc.core.cookies import DEVICE, REFRESH, SESSION
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import admin_service_pb2_grpc, auth_service_pb2_grpc
from authsvc.v1 import auth_service_pb2 as pb
from orders.v1 import orders_service_pb2 as shop
from orders.v1 import orders_service_pb2_grpc
from tests.edge.standing import StandingEdge, Visitor, needs_envoy
from tests.parts.service import PASSWORD, bearer, outcome, refusal

pytestmark = [needs_envoy, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("edge")]
_Answer = TypeVar("_Answer", bound=Message)
_TRAILERS = 0x80


async def web(
    visitor: Visitor, method: str, request: Message, answer: _Answer, **headers: str
) -> tuple[int, _Answer]:
    """Call a method as gRPC-Web, as a page of ours does; return the gRPC status and the answer."""
    edge, encoded = visitor.edge, request.SerializeToString()
    given = {
        "content-type": "application/grpc-web+proto",
        "x-grpc-web": "1",
        "origin": edge.origin,
        **headers,
    }
    given["cookie"] = "; ".join(f"{name}={token}" for name, token in visitor.jar.items())
    frame = b"\0" + len(encoded).to_bytes(4, "big") + encoded
    response = await edge.client.post(f"/{method}", content=frame, headers=given)
    for text in response.headers.get_list("set-cookie"):
        name, _, token = text.partition(";")[0].partition("=")
        visitor.jar[name] = token
    status, body = response.headers.get("grpc-status", ""), response.content
    while body:
        kind, size = body[0], int.from_bytes(body[1:5], "big")
        part, body = body[5 : 5 + size], body[5 + size :]
        if kind & _TRAILERS:
            status = dict(line.split(":", 1) for line in part.decode().split())["grpc-status"]
        else:
            answer.MergeFromString(part)
    return int(status), answer


async def user(edge: StandingEdge) -> str:
    """Somebody who can log in."""
    if "alice" not in edge.service.user_ids:
        await edge.service.add_user()
    return "alice"


async def test_grpc_web(edge: StandingEdge) -> None:
    """A page that speaks gRPC-Web gets cookies and no token, is somebody, and logs out."""
    visitor, service = edge.visitor(), "authsvc.v1.AuthService"
    typed = pb.LoginRequest(username=await user(edge), password=PASSWORD)

    logged_in, login = await web(visitor, f"{service}/Login", typed, pb.LoginResponse())
    cookies = set(visitor.jar)
    listed, sessions = await web(
        visitor, f"{service}/ListSessions", pb.ListSessionsRequest(), pb.ListSessionsResponse()
    )
    logged_out, _ = await web(visitor, f"{service}/Revoke", pb.RevokeRequest(), pb.RevokeResponse())

    assert (logged_in, listed, logged_out) == (0, 0, 0)
    assert cookies == {SESSION, REFRESH, DEVICE}
    assert not login.session_token
    assert not login.HasField("tokens")
    assert any(each.current for each in sessions.sessions)
    assert {name for name, token in visitor.jar.items() if token} == {DEVICE}


async def test_grpc_web_from_elsewhere(edge: StandingEdge) -> None:
    """A page of others gets no further than with JSON."""
    typed = pb.LoginRequest(username=await user(edge), password=PASSWORD)
    visitor = edge.visitor()

    status, _ = await web(
        visitor, "authsvc.v1.AuthService/Login", typed, pb.LoginResponse(), origin="https://evil.example"
    )

    assert grpc.StatusCode.PERMISSION_DENIED.value[0] == status
    assert visitor.jar == {}


async def test_dead_refresh_over_grpc_web(edge: StandingEdge) -> None:
    """A call that fails clears the cookies over gRPC-Web, too."""
    visitor = edge.visitor()
    visitor.jar = {REFRESH: "atr_dead"}

    status, _ = await web(
        visitor, "authsvc.v1.AuthService/Refresh", pb.RefreshRequest(), pb.RefreshResponse()
    )

    assert grpc.StatusCode.UNAUTHENTICATED.value[0] == status
    assert visitor.jar == {SESSION: "", REFRESH: ""}


async def test_native_grpc(edge: StandingEdge) -> None:
    """A program with a key of its own calls the server through the edge as it would without, streams included."""
    stub: Any = auth_service_pb2_grpc.AuthServiceStub(edge.channel)
    typed = pb.LoginRequest(username=await user(edge), password=PASSWORD)

    login = await stub.Login(typed, metadata=edge.service.by("web"))
    watching = stub.Watch(pb.WatchRequest(), metadata=edge.service.by("gateway"))
    first = await watching.read()
    watching.cancel()
    without_key = await outcome(stub.Login(typed))

    assert login.session_token.startswith("ats_")
    assert login.tokens.refresh_token.startswith("atr_")
    assert first.HasField("snapshot")
    assert without_key == "CREDENTIALS_MISSING"


async def test_administration_is_not_outside(edge: StandingEdge) -> None:
    """Nobody administers through the edge, whatever key they have."""
    stub: Any = admin_service_pb2_grpc.AdminServiceStub(edge.channel)

    error = await refusal(stub.ListUsers(admin.ListUsersRequest(), metadata=edge.service.by("root")))

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_orders(edge: StandingEdge) -> None:
    """The orders example serves browsers and programs through the edge, and checks nothing but JWTs for itself."""
    visitor = edge.visitor()
    await visitor.log_in()
    place = "orders.v1.OrdersService/PlaceOrder"
    session = (await edge.service.login()).session_token
    stub: Any = orders_service_pb2_grpc.OrdersServiceStub(edge.channel)

    placed, _ = await web(visitor, place, shop.PlaceOrderRequest(item="tea"), shop.PlaceOrderResponse())
    listed = await stub.ListOrders(shop.ListOrdersRequest(), metadata=bearer(session))
    nobody = await refusal(stub.ListOrders(shop.ListOrdersRequest()))
    elsewhere, _ = await web(
        visitor,
        place,
        shop.PlaceOrderRequest(item="x"),
        shop.PlaceOrderResponse(),
        origin="https://evil.example",
    )

    assert placed == 0
    assert [order.item for order in listed.orders] == ["tea"]
    assert nobody.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "authorization" in str(nobody.details())
    assert grpc.StatusCode.PERMISSION_DENIED.value[0] == elsewhere


async def test_orders_after_logout(edge: StandingEdge) -> None:
    """After the logout the next call is refused, over gRPC-Web as over HTTP."""
    visitor, listing = edge.visitor(), "orders.v1.OrdersService/ListOrders"
    await visitor.log_in()
    jar = dict(visitor.jar)

    before, _ = await web(visitor, listing, shop.ListOrdersRequest(), shop.ListOrdersResponse())
    await visitor.ask("POST", "/v1/logout", {})
    visitor.jar = jar
    after, _ = await web(visitor, listing, shop.ListOrdersRequest(), shop.ListOrdersResponse())

    assert (before, after) == (0, grpc.StatusCode.UNAUTHENTICATED.value[0])
