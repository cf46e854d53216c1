"""Our cookies, as text."""

import pytest

from authsvc.core.cookies import (
    DEVICE,
    REFRESH,
    SESSION,
    Cookies,
    CookiesAmbiguous,
    clear_cookies,
    read_cookies,
    set_cookie,
)


def test_read_among_others() -> None:
    """Ours are found among others, whose text stays as it came."""
    found = read_cookies([f"a=1; {SESSION}=ats_x;b=2 ; {REFRESH}=atr_y; c; {DEVICE}=atd_z"])

    assert found == Cookies("ats_x", "atr_y", "atd_z", "a=1; b=2; c")


def test_split_entries_are_one_header() -> None:
    """HTTP/2 may send one header as several entries, and they count as one."""
    found = read_cookies(["a=1", f"{SESSION}=ats_x", "b=2"])

    assert found == Cookies("ats_x", others="a=1; b=2")


@pytest.mark.parametrize(
    "entries",
    [
        [f"{SESSION}=one; {SESSION}=two"],
        [f"{SESSION}=one", f"{SESSION}=two"],
        [f"{SESSION}=one; a=1; {SESSION}=one"],
        [f"{SESSION}=; {SESSION}=one"],
        [f"{SESSION.lower()}=one"],
        [f"{SESSION.upper()}=one; {SESSION}=two"],
        [f"{REFRESH}=one; {REFRESH} =two"],
    ],
)
def test_planted_cookies_are_refused(entries: list[str]) -> None:
    """One of ours that comes twice, or in another case, was planted; which one is true, nobody can know."""
    with pytest.raises(CookiesAmbiguous) as refused:
        read_cookies(entries)

    assert "one" not in str(refused.value)
    assert "two" not in str(refused.value)


@pytest.mark.parametrize("text", ["", ";", "=", "; ;", "authsvc_session=x", "x__Host-authsvc_session=x"])
def test_nothing_of_ours(text: str) -> None:
    """What only resembles one of ours is not."""
    assert not read_cookies([text]).are_ours


def test_session_cookie_is_host_bound() -> None:
    """The session cookie has every attribute that `__Host-` asks for, no domain, and is out of reach of scripts."""
    text = set_cookie(SESSION, "ats_x", None)

    assert text == "__Host-authsvc_session=ats_x; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_refresh_cookie_goes_to_its_route_alone() -> None:
    """The refresh token is sent where it is used, and nowhere else."""
    text = set_cookie(REFRESH, "atr_x", 60)

    assert (
        text
        == "__Secure-authsvc_refresh=atr_x; Path=/v1/refresh; Secure; HttpOnly; SameSite=Strict; Max-Age=60"
    )


def test_no_cookie_from_strange_text() -> None:
    """Nothing gets into a header that could end it or add an attribute."""
    with pytest.raises(ValueError, match="no such characters"):
        set_cookie(SESSION, "x; Domain=example.com", None)


def test_clearing_names_what_was_set() -> None:
    """A browser forgets a cookie only if name, path and host are those it was set with."""
    cleared = clear_cookies()

    assert [text.partition(";")[0] for text in cleared] == [f"{SESSION}=", f"{REFRESH}="]
    assert ["Path=/;" in cleared[0], "Path=/v1/refresh;" in cleared[1]] == [True, True]
    assert all(text.endswith("Max-Age=0") for text in cleared)
