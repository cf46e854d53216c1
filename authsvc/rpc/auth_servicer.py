"""Owns AuthService as methods of (request, call): translation, and nothing else. Leaves rules to the core."""

from collections.abc import AsyncIterator
from dataclasses import replace

from authsvc.core.login import Challenged, LoginAttempt
from authsvc.core.password_check import PasswordAttempt
from authsvc.core.revoke import NOTHING
from authsvc.core.signing_keys import KEY_SET_MAX_AGE_MS
from authsvc.rpc import audit_requests, convert, cookie_delivery, requests
from authsvc.rpc.call import Call
from authsvc.rpc.second_factor_messages import challenge
from authsvc.rpc.second_factor_servicer import SecondFactorMethods
from authsvc.rpc.services import Services
from authsvc.rpc.watch import Watchers
from authsvc.v1 import auth_service_pb2 as pb


class AuthServicer(SecondFactorMethods):
    """AuthService. Each method's promise is in the proto."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watchers = Watchers(services)

    async def Login(self, request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
        if request.challenge_token:
            return await self._answer(request, call)
        requests.check_login(request)
        device, known = requests.device(request, call.ip_address), cookie_delivery.device_token(request, call)
        typed = PasswordAttempt(request.username, request.password, device, call.network_address, known)
        attempt = LoginAttempt(typed, requests.wanted(request, device))
        done = await self._services.login.login(attempt, call.asked)
        if isinstance(done, Challenged):
            return pb.LoginResponse(challenge=challenge(done))
        return self._logged_in(done, call)

    async def Refresh(self, request: pb.RefreshRequest, call: Call) -> pb.RefreshResponse:
        token = cookie_delivery.refresh_token(request, call)
        requests.check_refresh(request, token)
        asked = call.asked
        if request.HasField("device"):
            where = requests.device(request, call.ip_address)
            asked = replace(asked, device=where)
        with cookie_delivery.cleared_if_dead(call):
            refreshed = await self._services.refresh.refresh(token, request.audiences, request.scopes, asked)
        response = convert.refresh_response(refreshed, call.caller)
        if not request.refresh_token:
            self._services.cookies.move(response, refreshed.session, call)
        return response

    async def Revoke(self, request: pb.RevokeRequest, call: Call) -> pb.RevokeResponse:
        target, reason = cookie_delivery.revoke_target(request, call), requests.revoke_reason(request)
        revoked = await self._services.revoke.revoke(target, reason, call.asked) if target else NOTHING
        cookie_delivery.clear_after(target, call)
        return pb.RevokeResponse(revision=revoked.revision, revoked_count=len(revoked.entries))

    async def ValidateSession(
        self, request: pb.ValidateSessionRequest, call: Call
    ) -> pb.ValidateSessionResponse:
        given = cookie_delivery.session_token("session_token", request.session_token, call)
        token = requests.check_session_token(given)
        live = await self._services.validator.validate(token)
        return convert.validate_response(live, call.caller, self._services.view.revision)

    async def BatchValidateSessions(
        self, request: pb.BatchValidateSessionsRequest, call: Call
    ) -> pb.BatchValidateSessionsResponse:
        requests.check_batch(request)
        found = await self._services.validator.validate_many(request.session_tokens)
        return convert.batch_response(found, call.caller, self._services.view.revision)

    async def ExchangeSession(
        self, request: pb.ExchangeSessionRequest, call: Call
    ) -> pb.ExchangeSessionResponse:
        token = cookie_delivery.session_token("session_token", request.session_token, call)
        requests.check_exchange(request, token)
        exchanged = await self._services.exchange.exchange(
            token, request.audiences, request.scopes, call.caller
        )
        return convert.exchange_response(exchanged, call.caller, self._services.view.revision)

    async def Introspect(self, request: pb.IntrospectRequest, call: Call) -> pb.IntrospectResponse:
        requests.check_introspect(request)
        services = self._services
        found = await services.introspect.introspect(request.token, request.audience)
        if found is None:
            return pb.IntrospectResponse()
        return convert.introspect_response(
            found,
            call.caller,
            services.issuer,
            services.introspect.cache_until(found),
            services.view.revision,
        )

    async def ListSessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        page = await self._services.list_sessions.list(
            call.caller, request.user_id, request.page_size, request.page_token, request.include_ended
        )
        current = call.caller.session_id
        sessions = [convert.session_message(each, call.caller, each.id == current) for each in page.sessions]
        return pb.ListSessionsResponse(sessions=sessions, next_page_token=page.next_page_token)

    async def ChangePassword(
        self, request: pb.ChangePasswordRequest, call: Call
    ) -> pb.ChangePasswordResponse:
        requests.check_change_password(request)
        revoked = await self._services.change_password.change(
            request.current_password, request.new_password, call.asked
        )
        return pb.ChangePasswordResponse(revision=revoked.revision, revoked_count=len(revoked.entries))

    async def ListSecurityEvents(
        self, request: pb.ListSecurityEventsRequest, call: Call
    ) -> pb.ListSecurityEventsResponse:
        page = await self._services.security_events.list(call.caller, request.page_size, request.page_token)
        return audit_requests.security_events_response(page)

    async def GetKeySet(self, request: pb.GetKeySetRequest, call: Call) -> pb.GetKeySetResponse:
        keys = self._services.keys.ring
        response = pb.GetKeySetResponse(keys=convert.public_keys(keys), jwks=keys.jwks)
        response.max_age.FromMilliseconds(KEY_SET_MAX_AGE_MS)
        return response

    def Watch(self, request: pb.WatchRequest, call: Call) -> AsyncIterator[bytes]:
        return self._watchers.follow(requests.from_revision(request), call.may_go_on, request.batches)
