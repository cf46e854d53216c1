"""Owns `authsvc audit`: reading the audit log and following it, over AdminService."""

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.commands.connection import Server, open_server
from authsvc.commands.failure import NO_ANSWER, WRONG_USE, CommandFailed
from authsvc.commands.options import Dev, Json
from authsvc.commands.output import moment, plain, print_json, print_table, say
from authsvc.commands.user import user_id
from authsvc.settings.kinds import duration_ms
from authsvc.v1 import admin_service_pb2 as pb

_PAGE = 100
_POLL_S = 1.0
# A transaction that took its number before others may commit after them; none lasts this long.
_LATE_S = 15.0
_COLUMNS = ("time", "event", "actor", "user", "session", "client", "address", "reason")

commands = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@commands.command()
def audit(
    user: Annotated[
        str, typer.Option("--user", metavar="USER", help="Only of this user, by name or id.")
    ] = "",
    session: Annotated[str, typer.Option("--session", metavar="SESSION", help="Only of this session.")] = "",
    event: Annotated[
        str, typer.Option("--event", metavar="EVENT", help="Only of this kind, such as `token.reused`.")
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="TIME", help="Not before: `2026-01-31T12:00Z`, or `2h` for how long ago."
        ),
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Before this, written alike.")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="At most so many. 0: all.")] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", help="Then go on printing what happens, until interrupted.")
    ] = False,
    dev: Dev = None,
    json: Json = False,
) -> None:
    """List what happened, newest first; with --follow newest last.

    With --follow, --json prints one event a line.
    """
    if follow and until:
        raise CommandFailed("--follow goes on for ever: leave --until out", WRONG_USE)
    wanted = pb.ListAuditEventsRequest(
        session_id=session, event=event, start_time=_time("--since", since), end_time=_time("--until", until)
    )
    with open_server(dev) as server:
        if user:
            wanted.user_id = user_id(server, user)
        last = _highest(server) if follow else 0
        events = list(islice(_all(server, wanted), limit or None))
        if follow:
            _show_lines(list(reversed(events)), json)
            _follow(server, wanted, Follower(last, {found.id for found in events}), json)
    if json:
        print_json({"events": [plain(found) for found in events]})
    else:
        print_table(_COLUMNS, map(_row, events))


@dataclass
class Follower:
    """Which events of a growing log are new. `after_id`: the number that nothing new can be below any more."""

    after_id: int
    seen: set[int] = field(default_factory=set)
    _reached: deque[tuple[float, int]] = field(default_factory=deque)

    def new(self, read: Callable[[int], list[pb.AuditEvent]], now_s: float) -> list[pb.AuditEvent]:
        """Return the events not returned before, reading pages above a number until one is empty."""
        found: list[pb.AuditEvent] = []
        reached = self.after_id
        while page := read(reached):
            found += [event for event in page if event.id not in self.seen]
            reached = page[-1].id
        self.seen.update(event.id for event in found)
        self._reached.append((now_s, reached))
        self._settle(now_s - _LATE_S)
        return found

    def _settle(self, before_s: float) -> None:
        while self._reached and self._reached[0][0] <= before_s:
            self.after_id = self._reached.popleft()[1]
        self.seen = {number for number in self.seen if number > self.after_id}


def _follow(server: Server, wanted: pb.ListAuditEventsRequest, follower: Follower, json: bool) -> None:
    """Print what is new, each second, for ever; a server that does not answer is asked again."""

    def read(after_id: int) -> list[pb.AuditEvent]:
        request = pb.ListAuditEventsRequest(after_id=after_id, page_size=_PAGE)
        request.MergeFrom(wanted)
        return list(server.call(server.admin.ListAuditEvents, request).events)

    answers = True
    while True:
        try:
            _show_lines(follower.new(read, time.monotonic()), json)
            answers = True
        except CommandFailed as failed:
            if failed.status != NO_ANSWER:
                raise
            if answers:
                say(f"{failed}; trying again.")
            answers = False
        time.sleep(_POLL_S)


def _highest(server: Server) -> int:
    """A number that was given lately. The newest by time need not have the highest number, as clocks differ."""
    newest = server.call(server.admin.ListAuditEvents, pb.ListAuditEventsRequest(page_size=_PAGE))
    return max((event.id for event in newest.events), default=0)


def _all(server: Server, wanted: pb.ListAuditEventsRequest) -> Iterator[pb.AuditEvent]:
    request = pb.ListAuditEventsRequest(page_size=_PAGE)
    request.MergeFrom(wanted)
    while True:
        page = server.call(server.admin.ListAuditEvents, request)
        yield from page.events
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _show_lines(events: list[pb.AuditEvent], as_json: bool) -> None:
    if as_json:
        sys.stdout.writelines(json.dumps(plain(event), ensure_ascii=False) + "\n" for event in events)
    elif events:
        print_table(_COLUMNS, map(_row, events))
    sys.stdout.flush()


def _row(event: pb.AuditEvent) -> tuple[str, ...]:
    return (
        moment(event.event_time),
        event.event,
        event.actor,
        event.user_id,
        event.session_id,
        event.client_id,
        event.device.ip_address,
        event.reason,
    )


def _time(option: str, text: str) -> Timestamp | None:
    """A point in time, or how long ago. Raises CommandFailed."""
    if not text:
        return None
    found = Timestamp()
    try:
        ago_ms = int(str(duration_ms(text)))
    except ValueError:
        found.FromDatetime(_date(option, text))
        return found
    found.GetCurrentTime()
    found.FromMilliseconds(found.ToMilliseconds() - ago_ms)
    return found


def _date(option: str, text: str) -> datetime:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(
            f"{option} must be a time such as 2026-01-31T12:00Z, or such as 2h", WRONG_USE
        ) from None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
