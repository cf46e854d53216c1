"""Owns what AuthService does with second factors, as methods of (request, call). Leaves rules to the core."""

from dataclasses import replace

from authsvc.core.login import SecondStep
from authsvc.core.new_sessions import LoggedIn
from authsvc.core.step_up import Proof
from authsvc.rpc import convert, cookie_delivery, requests
from authsvc.rpc import second_factor_messages as messages
from authsvc.rpc.call import Call
from authsvc.rpc.services import Services
from authsvc.v1 import auth_service_pb2 as pb


class SecondFactorMethods:
    """Part of AuthServicer. Each method's promise is in the proto."""

    _services: Services

    async def StepUp(self, request: pb.StepUpRequest, call: Call) -> pb.StepUpResponse:
        token = cookie_delivery.session_token("token", request.token, call)
        messages.check_step_up(request, token)
        asked = call.asked
        if request.HasField("device"):
            where = requests.device(request, call.ip_address)
            asked = replace(asked, device=where)
        proof = Proof(request.password, request.one_time_code)
        stepped_up = await self._services.step_up.step_up(token, proof, asked)
        response = messages.step_up_response(stepped_up, call.caller)
        if not request.token:
            self._services.cookies.move(response, stepped_up.session, call)
        return response

    async def GetSecondFactor(
        self, request: pb.GetSecondFactorRequest, call: Call
    ) -> pb.GetSecondFactorResponse:
        user_id = requests.plain("user_id", request.user_id)
        standing = await self._services.second_factors.get(user_id, call.caller)
        return pb.GetSecondFactorResponse(
            totp_confirm_time=convert.timestamp(standing.confirmed_at),
            recovery_codes_left=standing.recovery_codes_left,
        )

    async def EnrollTotp(self, request: pb.EnrollTotpRequest, call: Call) -> pb.EnrollTotpResponse:
        messages.check_enroll(request)
        enrolment = await self._services.second_factors.enrol(
            request.password, request.one_time_code, call.asked
        )
        return pb.EnrollTotpResponse(
            secret=enrolment.secret, uri=enrolment.uri, expire_time=convert.timestamp(enrolment.expires_at)
        )

    async def ConfirmTotp(self, request: pb.ConfirmTotpRequest, call: Call) -> pb.ConfirmTotpResponse:
        code = messages.one_time_code(request.one_time_code)
        codes = await self._services.second_factors.confirm(code, call.asked)
        return pb.ConfirmTotpResponse(recovery_codes=codes)

    async def DisableTotp(self, request: pb.DisableTotpRequest, call: Call) -> pb.DisableTotpResponse:
        code = messages.one_time_code(request.one_time_code)
        await self._services.second_factors.disable(code, call.asked)
        return pb.DisableTotpResponse()

    async def RegenerateRecoveryCodes(
        self, request: pb.RegenerateRecoveryCodesRequest, call: Call
    ) -> pb.RegenerateRecoveryCodesResponse:
        code = messages.one_time_code(request.one_time_code)
        codes = await self._services.second_factors.regenerate(code, call.asked)
        return pb.RegenerateRecoveryCodesResponse(recovery_codes=codes)

    async def _answer(self, request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
        """The second step of a login."""
        messages.check_second_step(request)
        device = requests.device(request, call.ip_address)
        known = cookie_delivery.device_token(request, call)
        step = SecondStep(request.challenge_token, request.one_time_code, device, known)
        return self._logged_in(await self._services.login.answer(step, call.asked), call)

    def _logged_in(self, done: LoggedIn, call: Call) -> pb.LoginResponse:
        response = convert.login_response(done, call.caller)
        if done.cookies or call.is_browsers:
            self._services.cookies.move(response, done.session, call)
        return response
