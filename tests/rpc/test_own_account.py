"""A user's own account: changing the password, and what has happened to it."""

import asyncio
from typing import Any

import pytest

from authsvc.core.clock import MINUTE
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from tests.parts.service import PASSWORD, Service, bearer, outcome, reason_of, refusal, retry_seconds_of

NEW = "another long pass phrase"


def changing(service: Service, session_token: str, current: str = PASSWORD, new: str = NEW) -> Any:
    """A ChangePassword by the holder of a session token."""
    request = pb.ChangePasswordRequest(current_password=current, new_password=new)
    return service.auth.ChangePassword(request, metadata=bearer(session_token))


async def events(service: Service, session_token: str, **page: Any) -> pb.ListSecurityEventsResponse:
    """What the holder of a session token sees of their account."""
    request = pb.ListSecurityEventsRequest(**page)
    return await service.auth.ListSecurityEvents(request, metadata=bearer(session_token))


async def named(service: Service, session_token: str) -> list[str]:
    """The names of the events that the holder of a session token sees, newest first."""
    return [event.event for event in (await events(service, session_token)).events]


async def logs_in(service: Service, password: str) -> str:
    """How logging in as alice with a password ends."""
    request = pb.LoginRequest(username="alice", password=password)
    return await outcome(service.auth.Login(request, metadata=service.by("web")))


async def test_password_is_replaced(service_on_each: Service) -> None:
    """From the moment that it is acknowledged the new password logs in, and the old one does not."""
    service = service_on_each
    login = await service.login()

    await changing(service, login.session_token)

    assert await logs_in(service, PASSWORD) == "INVALID_CREDENTIALS"
    assert await logs_in(service, NEW) == "OK"


async def test_other_sessions_end(service_on_each: Service) -> None:
    """Every other session ends, with all its tokens; the one that asked goes on. Guard: `end_all` in set_password."""
    service = service_on_each
    other, login = await service.login(), await service.login()

    changed = await changing(service, login.session_token)

    assert changed.revoked_count == 1
    assert changed.revision > 0
    assert await outcome(service.validate(other.session_token)) == "SESSION_NOT_ACTIVE"
    assert await outcome(service.refresh(other.tokens.refresh_token)) == "REFRESH_TOKEN_NOT_ACTIVE"
    assert await outcome(service.validate(login.session_token)) == "OK"


async def test_wrong_current_password(service: Service) -> None:
    """A session left open does not give the account away: without the current password nothing changes, and the user
    can see that somebody tried. Guard: `_confirmed` in core/change_password."""
    login = await service.login()

    refused = await refusal(changing(service, login.session_token, "not the password at all"))

    assert reason_of(refused) == "INVALID_CREDENTIALS"
    assert await logs_in(service, PASSWORD) == "OK"
    assert "user.password_change_failed" in await named(service, login.session_token)


async def test_guesses_are_slowed_down(service: Service) -> None:
    """Whoever has a session but no password cannot try many; it is counted apart from logins, so that the user still
    gets in. Guard: the throttle in `_confirmed`."""
    login = await service.login()
    service.clock.stop()

    said = [await outcome(changing(service, login.session_token, f"guess {n} at it")) for n in range(6)]
    right = await refusal(changing(service, login.session_token))

    assert said == ["INVALID_CREDENTIALS"] * 5 + ["RATE_LIMITED"]
    assert reason_of(right) == "RATE_LIMITED"
    assert 0 < retry_seconds_of(right) <= 300
    assert await logs_in(service, PASSWORD) == "OK"


async def test_guessing_at_the_door_does_not_matter(service: Service) -> None:
    """Somebody else's guessing at the login does not keep the user from changing the password."""
    login = await service.login()
    service.clock.stop()
    for n in range(11):
        await logs_in(service, f"guess {n} at it")

    assert await outcome(changing(service, login.session_token)) == "OK"


@pytest.mark.parametrize("new", ["short", "aaaaaaaaaaaaaaaaaaaa", PASSWORD])
async def test_new_password_must_do(service: Service, new: str) -> None:
    """The rules for passwords hold for a user as for an administrator; one that stays the same is none that is new."""
    login = await service.login()

    assert await outcome(changing(service, login.session_token, new=new)) == "PASSWORD_TOO_WEAK"


async def test_one_of_many_changes_wins(service_on_each: Service) -> None:
    """Of several changes at once from the same password exactly one happens, and its password is the one that logs in.
    Guard: `replaces` in set_password."""
    service = service_on_each
    login = await service.login()
    wanted = [f"{NEW} {n}" for n in range(4)]

    said = await asyncio.gather(*(outcome(changing(service, login.session_token, new=new)) for new in wanted))

    service.clock.move(10 * MINUTE)
    assert sorted(said) == ["INVALID_CREDENTIALS"] * 3 + ["OK"]
    assert [await logs_in(service, new) for new in wanted] == said


async def test_an_administrator_came_first(service: Service) -> None:
    """A session that has ended, here because an administrator set the password, changes nothing."""
    login = await service.login()
    request = admin.SetPasswordRequest(user_id=login.session.user_id, password=NEW)
    await service.admin.SetPassword(request, metadata=service.by("root"))

    said = await outcome(changing(service, login.session_token))

    assert said == "CALLER_UNAUTHENTICATED"
    assert await logs_in(service, NEW) == "OK"


async def test_own_events(service: Service) -> None:
    """A user sees what happened to the account, newest first, whose doing it was, and from where."""
    login = await service.login(device={"ip_address": "203.0.113.9", "user_agent": "Phone"})
    await logs_in(service, "not the password at all")
    await changing(service, login.session_token)

    found = (await events(service, login.session_token)).events

    assert [(event.event, event.own) for event in found] == [
        ("user.password_changed", True),
        ("login.failed", False),
        ("session.created", True),
        ("user.created", False),
    ]
    assert found[0].session_id == login.session.id
    assert found[2].device.ip_address == "203.0.113.9"
    assert found[2].device.user_agent == "Phone"
    assert found[1].device.ip_address == "127.0.0.1"


async def test_nothing_of_others(service: Service) -> None:
    """No user sees anything of another one, nor where an administrator was. Guards: the filter and `_shown` in
    core/list_security_events."""
    alice, bob = await service.login(), await service.login("bob")
    disabling = admin.SetPasswordRequest(user_id=bob.session.user_id, password=NEW)
    await service.admin.SetPassword(disabling, metadata=service.by("root"))
    request = pb.LoginRequest(username="bob", password=NEW)
    bob = await service.auth.Login(request, metadata=service.by("web"))

    of_alice, of_bob = [await events(service, each.session_token) for each in (alice, bob)]

    assert [event.event for event in of_alice.events] == ["session.created", "user.created"]
    assert bob.session.user_id not in str(of_alice)
    changed = next(event for event in of_bob.events if event.event == "user.password_changed")
    assert not changed.own
    assert not changed.HasField("device")
    assert "root" not in str(of_bob)


async def test_renewals_are_left_out(service_on_each: Service) -> None:
    """What a user is shown is not buried under every renewal of their tokens. (Guard: `rare` in ListSecurityEvents.)"""
    login = await service_on_each.login()
    await service_on_each.refresh(login.tokens.refresh_token)

    assert await named(service_on_each, login.session_token) == ["session.created", "user.created"]


async def test_events_in_pages(service: Service) -> None:
    """Pages follow one another without a gap, and another user's page token shows nothing but one's own."""
    alice, bob = await service.login(), await service.login("bob")
    for _ in range(3):
        await service.login()

    first = await events(service, alice.session_token, page_size=2)
    rest = await events(service, alice.session_token, page_size=100, page_token=first.next_page_token)
    of_bob = await events(service, bob.session_token, page_token=first.next_page_token)

    assert len(first.events) == 2
    assert [event.event for event in rest.events] == ["session.created"] * 2 + ["user.created"]
    assert alice.session.id not in str(of_bob)


async def test_theft_is_shown_to_its_owner(service: Service) -> None:
    """The owner of a stolen token sees both uses of it."""
    login = await service.login()
    renewed = await service.refresh(login.tokens.refresh_token)
    await service.refresh(renewed.tokens.refresh_token)
    await outcome(service.refresh(login.tokens.refresh_token))
    again = await service.login()

    found = (await events(service, again.session_token)).events

    reused = next(event for event in found if event.event == "token.reused")
    assert reused.HasField("other_time")
    assert reused.session_id == login.session.id
