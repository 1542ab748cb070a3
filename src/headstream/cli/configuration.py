"""`headstream config`: every setting that is in force here, and where it comes from.

The table is that of docs/reference/settings.md (tests/cli/test_config.py holds one against the
other). A value is shown as it was given: whether it can be used is told by whoever reads it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import typer
from platformdirs import user_cache_path

from headstream.cli.telling import Json, answers, tell
from headstream.places import Places
from headstream.schemas.configuration import SettingsFile, beneath, settings_file
from headstream.schemas.settings import PREFIX, SETTINGS, Setting, stands_for

ENVIRONMENT: Final = "environment"
DEFAULT: Final = "default"
SET: Final = "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A setting as it stands; `value` None is absent, and "set" a secret."""

    name: str
    value: str | None
    source: str
    readers: str


def register(app: typer.Typer) -> None:
    app.command("config")(config)


def config(context: typer.Context, as_json: Json = False) -> None:
    """List every HEADSTREAM_* setting: value, where it comes from, who reads it; no secret is shown."""
    given: Mapping[str, str] = os.environ if context.obj is None else context.obj
    file = settings_file(given)
    found, unknown = list(in_force(given, file)), strangers(given)
    if as_json:
        settings = [asdict(each) for each in found]
        typer.echo(json.dumps({"settings": settings, "file": _path(file), "unknown": unknown}))
        return
    from rich.table import Column, Table  # Only this answer is a table.
    from rich.text import Text

    table = Table("setting", Column("value", overflow="fold"), "from", "read by", box=None)
    for each in found:
        value = "(none)" if each.value is None else each.value
        table.add_row(*map(Text, (each.name, value, each.source, each.readers)))
    answers().print(table)
    if file is None:
        tell("no settings file: there is no headstream.toml here, and HEADSTREAM_CONFIG names none")
    for name in unknown:
        tell(f"{name} is set, and nothing reads it: see docs/reference/settings.md for what there is")


def in_force(environ: Mapping[str, str], file: SettingsFile | None = None) -> Iterator[InForce]:
    """Every setting with the value that it has in this environment, with this file beneath it.

    An empty variable counts as unset.
    """
    given_here, environ = environ, beneath(environ, file)
    for setting in SETTINGS:
        given = sorted(name for name in environ if environ[name] and stands_for(setting, name))
        for name in given:
            source = ENVIRONMENT if file is None or given_here.get(name) else str(file.path)
            value = SET if setting.secret else without_password(environ[name])
            yield InForce(name=name, value=value, source=source, readers=setting.readers)
        if not given:
            default = _default(setting, environ)
            yield InForce(name=setting.name, value=default, source=DEFAULT, readers=setting.readers)


def strangers(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none: most often a name with a typing error."""
    return sorted(
        name
        for name in environ
        if name.startswith(PREFIX) and not any(stands_for(each, name) for each in SETTINGS)
    )


def without_password(value: str) -> str:
    """A location without what may be a password: user information and the query of a URL."""
    if "://" not in value:
        return value
    return re.sub(r"\?.*", "?...", re.sub(r"(?<=://)[^/?#]*@", "...@", value))


def _path(file: SettingsFile | None) -> str | None:
    return None if file is None else str(file.path)


def _default(setting: Setting, environ: Mapping[str, str]) -> str | None:
    """What an unset variable means here; None if it means nothing."""
    if not setting.default.startswith("("):
        return setting.default
    found = _FOUND_HERE.get(setting.name)
    return None if found is None else found(environ)


_FOUND_HERE: Final[Mapping[str, Callable[[Mapping[str, str]], str | None]]] = {
    "HEADSTREAM_DATA": lambda environ: str(Places.from_env(environ).data),
    "HEADSTREAM_CACHE": lambda environ: str(user_cache_path("headstream").absolute()),
    "HEADSTREAM_CONFIG": lambda environ: _path(settings_file(environ)),
    "HEADSTREAM_SPOOL": lambda environ: str(Places.from_env(environ).spool),
    "HEADSTREAM_CLUSTER": lambda environ: environ.get("SLURM_CLUSTER_NAME") or None,
}
