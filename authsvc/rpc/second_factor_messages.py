"""Owns what messages about second factors hold, both ways. Leaves everything else to `requests` and `convert`."""

from authsvc.core.callers import Caller
from authsvc.core.errors import InvalidRequest
from authsvc.core.login import Challenged
from authsvc.core.password_rules import PASSWORD_MAX_BYTES
from authsvc.core.step_up import SteppedUp
from authsvc.rpc.convert import session_message, timestamp
from authsvc.rpc.requests import TOKEN_MAX_BYTES, Checks, check_device
from authsvc.v1 import auth_service_pb2 as pb

# A challenge carries what the first step asked for, which may be as large as requests are.
_CHALLENGE_MAX_BYTES = 48 * 1024
_CODE_MAX_BYTES = 64
_METHODS = ("otp", "recovery_code")
# What a second step may hold. The rest was said in the first.
_SECOND_STEP = frozenset({"challenge_token", "one_time_code", "device", "device_token"})


def one_time_code(code: str) -> str:
    """Return the code. Raises InvalidRequest if there is none, or it is too long for one."""
    checks = Checks()
    checks.text("one_time_code", code, _CODE_MAX_BYTES)
    checks.done()
    return code


def check_second_step(request: pb.LoginRequest) -> None:
    """Raises InvalidRequest unless a LoginRequest is a well-formed answer to a challenge and nothing else."""
    checks = Checks()
    checks.text("challenge_token", request.challenge_token, _CHALLENGE_MAX_BYTES)
    checks.text("one_time_code", request.one_time_code, _CODE_MAX_BYTES)
    check_device(checks, request.device)
    checks.text("device_token", request.device_token, TOKEN_MAX_BYTES, needed=False)
    for field, _ in request.ListFields():
        checks.that(field.name in _SECOND_STEP, field.name, "must not come with challenge_token")
    checks.done()


def check_step_up(request: pb.StepUpRequest, token: str) -> None:
    """Raises InvalidRequest unless a StepUpRequest with this token is well-formed."""
    checks = Checks()
    checks.text("token", token, TOKEN_MAX_BYTES)
    _check_proof(checks, request)
    check_device(checks, request.device)
    checks.done()


def check_enroll(request: pb.EnrollTotpRequest) -> None:
    """Raises InvalidRequest unless an EnrollTotpRequest is well-formed."""
    checks = Checks()
    _check_proof(checks, request)
    checks.done()


def _check_proof(checks: Checks, request: pb.StepUpRequest | pb.EnrollTotpRequest) -> None:
    if not request.password and not request.one_time_code:
        raise InvalidRequest(("password", "must not be empty, unless there is a one_time_code"))
    checks.that(
        len(request.password.encode()) <= PASSWORD_MAX_BYTES,
        "password",
        f"must be at most {PASSWORD_MAX_BYTES} bytes",
    )
    checks.text("one_time_code", request.one_time_code, _CODE_MAX_BYTES, needed=False)


def challenge(challenged: Challenged) -> pb.Challenge:
    """Return the challenge."""
    return pb.Challenge(
        challenge_token=challenged.challenge_token,
        methods=_METHODS,
        expire_time=timestamp(challenged.expires_at),
    )


def step_up_response(stepped_up: SteppedUp, caller: Caller) -> pb.StepUpResponse:
    """Return the session as it is now and its tokens."""
    response = pb.StepUpResponse(
        session=session_message(stepped_up.session, caller), session_token=stepped_up.session_token
    )
    access = stepped_up.access
    if access is not None:
        response.access_token = access.text
        response.token_type = "Bearer"
        response.access_expire_time.FromMilliseconds(access.expires_at)
    return response
