"""Addresses to listen on: "ADDRESS:PORT" comes in, why nothing can listen there goes out."""

import re
import socket

LISTEN = re.compile(r"(?P<host>[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")


def is_address(listen: str) -> bool:
    """Say whether it has the form of an address; a name is one."""
    found = LISTEN.fullmatch(listen)
    return found is not None and 0 < int(found["port"]) < 65536


def why_busy(listen: str) -> str:
    """Return why a server cannot listen there, or "" when it can."""
    if not is_address(listen):
        return "not of the form ADDRESS:PORT, such as 0.0.0.0:8080"
    host, _, port = listen.rpartition(":")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # A connection of the server before that still lingers is in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        return error.strerror or str(error)
    return ""
