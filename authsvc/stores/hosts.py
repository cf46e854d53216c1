"""Owns telling hosts on this machine from others. Leaves what follows from it to those who connect."""

import ipaddress


def is_on_this_machine(host: str) -> bool:
    """Whether a host is loopback or the path of a Unix socket. Names but `localhost` may lead anywhere."""
    if host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
