"""Owns what ListAuditEvents and ListSecurityEvents ask and answer, as messages. Leaves the listing to the core."""

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.audit_contract import EventFilter
from authsvc.core.clock import SECOND
from authsvc.core.list_audit_events import EventPage
from authsvc.core.list_security_events import SecurityEvents
from authsvc.core.model import AuditEvent, Device
from authsvc.rpc.convert import timestamp
from authsvc.rpc.requests import Checks
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1 import auth_service_pb2 as auth
from authsvc.v1 import resources_pb2 as resources

_TEXT_MAX_BYTES = 64
# The years 1 to 9999, which a Timestamp may hold.
_SECONDS = range(-62_135_596_800, 253_402_300_800)
_NANOS_PER_MS = 1_000_000
_NANOS = range(SECOND * _NANOS_PER_MS)


def event_filter(request: pb.ListAuditEventsRequest) -> EventFilter:
    """Return what a request asks for. Raises InvalidRequest."""
    checks = Checks()
    for field in ("user_id", "session_id", "event"):
        checks.text(field, getattr(request, field), _TEXT_MAX_BYTES, needed=False)
    for field in ("start_time", "end_time"):
        checks.that(_is_time(getattr(request, field)), field, "must be a time")
    following = request.HasField("after_id")
    checks.that(not (following and request.page_token), "page_token", "must not come with after_id")
    checks.done()
    return EventFilter(
        request.user_id,
        request.session_id,
        request.event,
        _milliseconds(request.start_time) if request.HasField("start_time") else None,
        _milliseconds(request.end_time) if request.HasField("end_time") else None,
    )


def events_response(page: EventPage) -> pb.ListAuditEventsResponse:
    """Return a page of events."""
    return pb.ListAuditEventsResponse(
        events=map(event_message, page.events), next_page_token=page.next_page_token
    )


def event_message(event: AuditEvent) -> pb.AuditEvent:
    """Return one event."""
    return pb.AuditEvent(
        id=event.id,
        event_time=timestamp(event.happened_at),
        event=event.event,
        actor=event.actor,
        user_id=event.user_id,
        session_id=event.session_id,
        client_id=event.client_id,
        device=_device(event.device),
        reason=event.reason,
        other_device=_device(event.other_device) if event.other_at is not None else None,
        other_time=timestamp(event.other_at),
    )


def security_events_response(page: SecurityEvents) -> auth.ListSecurityEventsResponse:
    """Return a page of a user's own events."""
    return auth.ListSecurityEventsResponse(
        events=map(_security_event, page.events), next_page_token=page.next_page_token
    )


def _security_event(event: AuditEvent) -> auth.SecurityEvent:
    return auth.SecurityEvent(
        event_time=timestamp(event.happened_at),
        event=event.event,
        own=event.actor == event.user_id,
        session_id=event.session_id,
        device=_device(event.device) if event.device != Device() else None,
        reason=event.reason,
        other_device=_device(event.other_device) if event.other_at is not None else None,
        other_time=timestamp(event.other_at),
    )


def _device(device: Device) -> resources.Device:
    return resources.Device(ip_address=device.ip_address, user_agent=device.user_agent, label=device.label)


def _is_time(moment: Timestamp) -> bool:
    return moment.seconds in _SECONDS and moment.nanos in _NANOS


def _milliseconds(moment: Timestamp) -> int:
    """The time, rounded up: events are as of whole milliseconds, so that nothing changes but the unit."""
    return moment.seconds * SECOND - -moment.nanos // _NANOS_PER_MS
