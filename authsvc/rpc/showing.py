"""Owns the form in which cached sessions are kept: resources.Session as it goes over the wire (core.cached_sessions).

Whether a caller may see the username is judged when the answer is made, in `convert`; here it is always in it.
"""

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.clock import SECOND
from authsvc.core.model import Device, Session
from authsvc.rpc import convert
from authsvc.v1 import resources_pb2 as resources


class SessionShowing:
    """core.cached_sessions.Showing."""

    def write(self, session: Session) -> bytes:
        """Return everything that can be shown of a session, but when it was last seen and its idle deadline."""
        message = resources.Session()
        convert.fill_session(message, session)
        message.ClearField("last_seen_time")
        message.ClearField("session_idle_expire_time")
        return message.SerializeToString()

    def read(self, shown: bytes) -> Session:
        """Return the session; `seen_at` and the idle times are 0 or None."""
        message = resources.Session.FromString(shown)
        device = message.device
        return Session(
            id=message.id,
            user_id=message.user_id,
            username=message.username,
            client_id=message.client_id,
            scopes=tuple(message.scopes),
            audiences=tuple(message.audiences),
            amr=tuple(message.amr),
            created_at=_milliseconds(message.create_time),
            seen_at=0,
            session_expires_at=_milliseconds(message.session_expire_time),
            session_idle_ms=0,
            refresh_expires_at=(
                _milliseconds(message.refresh_expire_time)
                if message.HasField("refresh_expire_time")
                else None
            ),
            refresh_idle_ms=0,
            refresh_idle_expires_at=None,
            device=Device(device.ip_address, device.user_agent, device.label),
            stepped_up_at=_stepped_up_at(message),
        )


def _stepped_up_at(message: resources.Session) -> int | None:
    """None where the login was the last proof. A body from before there were others has no `auth_time`."""
    if not message.HasField("auth_time") or message.auth_time == message.create_time:
        return None
    return _milliseconds(message.auth_time)


def _milliseconds(moment: Timestamp) -> int:
    return moment.seconds * SECOND + moment.nanos // 1_000_000
