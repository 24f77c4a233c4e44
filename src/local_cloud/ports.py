"""Ports on 127.0.0.1 for the processes of a stack."""

import socket


def free_ports(count: int) -> list[int]:
    """Return that many free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def ports_from(first: int, count: int) -> list[int]:
    """Return that many ports, starting with `first`. Raise RuntimeError if one of them is in use."""
    ports = list(range(first, first + count))
    for port in ports:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except (OSError, OverflowError) as error:
            raise RuntimeError(
                f"port {port} cannot be used ({error}): give another PORT, whose next {count - 1} are free too, "
                "or none, to use free ports"
            ) from None
    return ports
