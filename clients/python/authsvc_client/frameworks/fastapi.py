"""Owns FastAPI's dependencies: whom a request speaks for, and which scopes it needs. Leaves judging to `asgi`.

app.add_middleware(AuthMiddleware, verifier=verifier)

@app.get("/orders/{order_id}", dependencies=[require_scopes("orders.read")])
def get_order(order_id: str, principal: CurrentPrincipal) -> Order: ...
"""

import json
from typing import Annotated, Any

from fastapi import Depends, HTTPException
from fastapi.params import Depends as Dependency
from fastapi.requests import HTTPConnection

from authsvc_client.frameworks.asgi import ANSWERS, PRINCIPAL
from authsvc_client.guarding.judging import insufficient
from authsvc_client.guarding.policy import scopes
from authsvc_client.guarding.principal import Principal
from authsvc_client.guarding.refusals import Refused


def current_principal(connection: HTTPConnection) -> Principal:
    """Whom the request speaks for. Answers 401 on a public path.

    Raises RuntimeError without `AuthMiddleware`: then nobody has looked at any token.
    """
    if PRINCIPAL not in connection.scope:
        raise RuntimeError("add authsvc_client.frameworks.asgi.AuthMiddleware to the application")
    principal: Principal | None = connection.scope[PRINCIPAL]
    if principal is None:
        raise _refusal(connection, Refused("CREDENTIALS_MISSING"))
    return principal


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]
"""The type of a parameter that is to be the Principal."""


def require_scopes(*names: str) -> Dependency:
    """A dependency that answers 403 unless the caller has every one of these scopes, and gives the Principal.

    Raises PolicyMistaken for no scope at all, or for what is none.
    """
    rule = scopes(*names)

    def required(connection: HTTPConnection, principal: CurrentPrincipal) -> Principal:
        if not rule.scopes <= principal.scopes:
            raise _refusal(connection, insufficient(rule))
        return principal

    dependency: Any = Depends(required)
    return dependency  # type: ignore[no-any-return]  # FastAPI declares it so


def _refusal(connection: HTTPConnection, refused: Refused) -> HTTPException:
    answer = connection.scope[ANSWERS].of(refused)
    headers = {name: value for name, value in answer.headers if not name.startswith("content-")}
    return HTTPException(answer.status, json.loads(answer.body), headers)
