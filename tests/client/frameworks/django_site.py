"""A Django project of one module. Each test puts its own middleware in place before it makes a client."""

from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import path

from authsvc_client import NoPrincipal, current_principal

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=[f"{__name__}.AuthMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="for tests only",
    )
    django.setup()

AuthMiddleware: Any = None


def whose(request: HttpRequest, **_: str) -> JsonResponse:
    """Tell for whom the request is handled, as the request and as the context have it."""
    principal: Any = request.authsvc_principal
    return JsonResponse({"user": principal and principal.user_id, "context": _in_context()})


async def whose_async(request: HttpRequest, **_: str) -> JsonResponse:
    """The same, on the event loop."""
    return whose(request)


def _in_context() -> str | None:
    try:
        return current_principal().user_id
    except NoPrincipal:
        return None


urlpatterns = [path("<path:rest>", whose)]
async_urlpatterns = [path("<path:rest>", whose_async)]
