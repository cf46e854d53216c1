"""Owns where a browser goes after it has logged in: where it wanted to go, if that is here.

The wish is part of a link, and anybody can write a link. So it must be a path of this origin, in a form that no browser
reads as anything else.
"""

import re
from urllib.parse import quote

from authsvc.core.gate import RETURN_PARAMETER

LOGIN = "/login"
HOME = "/account"
_LONGEST = 2048
# A path, perhaps with a query; never two slashes first (another host), nothing that browsers drop or turn (tabs, new
# lines, backslashes), no fragment.
_OWN_PATH = re.compile(r"/(?![/\\])[!$%&'()*+,./0-9:;=?@A-Z_a-z~\-]*")


def own_path(wanted: str) -> str:
    """Return the path that is wanted, or the account's if that is not one of this origin, or the login page itself."""
    if len(wanted) > _LONGEST or not _OWN_PATH.fullmatch(wanted) or wanted.partition("?")[0] == LOGIN:
        return HOME
    return wanted


def login_for(path: str) -> str:
    """Return the address of the login page that leads to this path of ours afterwards."""
    return f"{LOGIN}?{RETURN_PARAMETER}={quote(path, safe='/')}"
