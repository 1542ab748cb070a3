"""Ports of this machine: is one free, and which are."""

from __future__ import annotations

import random
import socket

from headstream.services.errors import PortInUse

HOST = "127.0.0.1"
# Below what kernels hand out to outgoing connections: a client that keeps dialling a port of those on its
# own machine while its server is down can end up connected to itself, and hold the port.
CHOICE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of the loopback now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def demand(port: int, service: str, setting: str) -> None:
    """Raise PortInUse, with the port and the setting that changes it, unless the port is free."""
    if not is_free(port):
        raise PortInUse(
            f"port {port} on {HOST}, wanted for {service}, is in use by another process; "
            f"stop that process or choose another port with {setting}"
        )


def accepts(port: int) -> bool:
    """Tell whether something on the loopback takes connections on this port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def free_ports(count: int) -> list[int]:
    """Return that many different ports which are free now; nothing reserves them."""
    found: list[int] = []
    for port in random.sample(CHOICE, len(CHOICE)):
        if len(found) == count:
            break
        if is_free(port):
            found.append(port)
    if len(found) < count:
        raise PortInUse(f"{count} free ports were looked for in {CHOICE.start} to {CHOICE.stop}; too few are")
    return found
