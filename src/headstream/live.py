"""What is up, for the commands that ask it, feed it or rebuild beside it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from headstream.errors import CommandError, NotUp
from headstream.places import Places
from headstream.schemas.clients import registry_options
from headstream.schemas.confluent import use
from headstream.schemas.errors import RegistryUnusable
from headstream.services import state
from headstream.services.state import Running, State

API = frozenset({"api", "embedded"})
GATEWAY = "gateway"
TAKERS = frozenset({"relay", "embedded"})
LIVE = "live"
_KAFKA_PORT = 9092


def api(found: State | None) -> Running | None:
    """The process that answers questions, dead or alive."""
    return _first(found, API)


def taker(found: State | None) -> Running | None:
    """The process that takes the spool, dead or alive."""
    return _first(found, TAKERS)


def up_for(places: Places) -> State | None:
    """What was started in this data directory and not stopped; raises StateUnreadable."""
    return state.read(places.data)


def store(places: Places) -> str:
    """The store of what is up, else the embedded store on disk; raises NotUp if there is neither."""
    found = up_for(places)
    if found is not None and found.mode == "full":
        return f"{found.urls['blazegraph']}/namespace/{places.namespace}/sparql"
    if places.store.is_dir():
        return places.store_location
    raise NotUp(f"nothing is up in {places.data}, and no embedded store is there; `headstream up` starts one")


def location(places: Places, given: str) -> str:
    """A store as the user names it: `live` is that of what is up."""
    return store(places) if given == LIVE else given


def bootstrap(places: Places, environ: Mapping[str, str]) -> str | None:
    """The broker to talk to: HEADSTREAM_BOOTSTRAP, else that of what is up, else None."""
    given = environ.get("HEADSTREAM_BOOTSTRAP")
    if given:
        return given
    found = up_for(places)
    return found.urls.get("kafka") if found is not None else None


def use_broker(places: Places) -> str:
    """Let this process talk to that broker, once it is known to listen; raises NotUp if none does."""
    address = bootstrap(places, os.environ)
    if address is None:
        raise NotUp(
            f"no broker is up in {places.data} and HEADSTREAM_BOOTSTRAP is not set; start one with "
            "`headstream up --services full`, or set HEADSTREAM_BOOTSTRAP to host:port"
        )
    demand_broker(address)
    os.environ["HEADSTREAM_BOOTSTRAP"] = address
    try:
        use(registry_options(os.environ))  # What lies in the topics may be in its framing.
    except RegistryUnusable as error:
        raise CommandError(str(error)) from error
    return address


def demand_broker(address: str, seconds: float = 5.0) -> None:
    """Raise NotUp unless one of these brokers takes connections: librdkafka would try for ever."""
    reasons = []
    for broker in address.split(","):
        host, port = _host_and_port(broker.strip())
        try:
            socket.create_connection((host, port), seconds).close()
            return
        except OSError as error:
            reasons.append(error.strerror or str(error))
    raise NotUp(
        f"no Kafka broker takes connections at {address} ({'; '.join(dict.fromkeys(reasons))}); start it, or "
        "set HEADSTREAM_BOOTSTRAP to the host:port of another"
    )


def folder_of(store_location: str) -> Path | None:
    """The folder of an Oxigraph store on disk, or None for any other store."""
    path = store_location.removeprefix("oxigraph:")
    return Path(path).absolute() if path and path != store_location else None


def same_store(left: str, right: str) -> bool:
    """Tell whether two locations name one store."""
    folders = folder_of(left), folder_of(right)
    if folders[0] is not None and folders[1] is not None:
        return folders[0].resolve() == folders[1].resolve()
    return left.removeprefix("blazegraph:").rstrip("/") == right.removeprefix("blazegraph:").rstrip("/")


def _first(found: State | None, names: frozenset[str]) -> Running | None:
    return next((each for each in found.processes if each.name in names), None) if found else None


def _host_and_port(broker: str) -> tuple[str, int]:
    address = broker.rpartition("/")[2]  # librdkafka lets a protocol stand before it.
    host, colon, port = address.rpartition(":")
    if not colon:
        return address, _KAFKA_PORT
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise CommandError(f"HEADSTREAM_BOOTSTRAP: {broker!r} is no broker; write it as host:port")
    return host.strip("[]"), int(port)
