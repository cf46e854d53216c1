"""Where requests began."""

import pytest

from authsvc.core.errors import OriginNotAllowed
from authsvc.core.origins import Origins, origin_of

OURS = "https://auth.example.com"
ORIGINS = Origins([OURS, "https://app.example.com"])


@pytest.mark.parametrize(
    ("origins", "sites"),
    [
        ([OURS], []),
        ([OURS], ["same-origin"]),
        (["https://app.example.com"], ["same-site"]),
        ([], ["same-origin"]),
    ],
)
def test_our_pages(origins: list[str], sites: list[str]) -> None:
    """A page of ours is told by its origin, or where there is none by the browser's word that it is the same."""
    ORIGINS.check(origins, sites)


@pytest.mark.parametrize(
    ("origins", "sites"),
    [
        ([], []),
        (["null"], []),
        ([""], []),
        (["https://evil.example"], ["cross-site"]),
        (["https://evil.example"], ["same-origin"]),
        (["https://auth.example.com.evil.example"], []),
        (["http://auth.example.com"], []),
        (["https://auth.example.com:8443"], []),
        (["https://AUTH.example.com"], []),
        ([OURS, "https://evil.example"], []),
        ([OURS, OURS], []),
        ([f"{OURS}, https://evil.example"], []),
        ([], ["same-site"]),
        ([], ["cross-site"]),
        ([], ["none"]),
        ([], ["same-origin", "cross-site"]),
    ],
)
def test_other_pages(origins: list[str], sites: list[str]) -> None:
    """Whatever does not show that a page of ours began it did not."""
    with pytest.raises(OriginNotAllowed):
        ORIGINS.check(origins, sites)


def test_saying_nothing_will_do_for_programs() -> None:
    """A caller that no browser can be need not say where it is; what it says is judged all the same."""
    ORIGINS.check([], [], needed=False)

    with pytest.raises(OriginNotAllowed):
        ORIGINS.check(["https://evil.example"], [], needed=False)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://auth.example.com/path", "https://auth.example.com"),
        ("https://auth.example.com:443", "https://auth.example.com"),
        ("https://auth.example.com:8443/", "https://auth.example.com:8443"),
        ("http://[::1]:80/", "http://[::1]"),
    ],
)
def test_origin_of_url(url: str, origin: str) -> None:
    """The origin of the issuer is written as browsers write it."""
    assert origin_of(url) == origin
