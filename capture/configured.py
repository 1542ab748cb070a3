"""Which settings are in force for a script: arguments, then HEADSTREAM_* variables, then a file.

What cannot be used is said once on standard error and counted, and the script goes on without it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from headstream.capture.errors import WARNINGS
from headstream.capture.settings import Settings, patterns
from headstream.schemas.configuration import OFF, beneath, settings_file
from headstream.schemas.errors import SettingsUnusable


def environment(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the settings of the file beneath it."""
    try:
        found = settings_file(environ)
    except SettingsUnusable as error:
        _refused(str(error))
        return environ
    if found is not None and found.unknown:
        _refused(f"{found.path}: {', '.join(found.unknown)} is no setting; see docs/reference/settings.md")
    return beneath(environ, found)


def in_force(given: Settings | Mapping[str, Any] | None, environ: Mapping[str, str]) -> Settings:
    """`Settings` as they are; of a mapping each field wins over its variable, and that over the file."""
    if isinstance(given, Settings):
        return given
    found = Settings.from_env(environment(environ))
    for name, value in (given or {}).items():
        try:
            found = replace(found, **{name: _like(name, value)})
        except (KeyError, TypeError, ValueError):
            _refused(f"{name}={value!r} is no setting of capture, or no value of it")
    return found


def _like(name: str, value: Any) -> Any:
    """A value of the type that the field has; raises where it is none."""
    default: Any = {field.name: field.default for field in fields(Settings)}[name]
    if name == "spool":
        return None if value is None or str(value).lower() in OFF else Path(value).absolute()
    if name == "kafka":
        options = value.items() if isinstance(value, Mapping) else value
        return tuple(sorted((str(option), str(text)) for option, text in options))
    if name == "environment":
        return patterns(value) if isinstance(value, str) else tuple(map(str, value))
    if name == "registry":
        return value
    if name == "budget":
        return None if value is None else float(value)
    if value is None or default is None:
        if value is None and default is not None:
            raise TypeError
        return None if value is None else str(value)
    if isinstance(default, bool):
        return value if isinstance(value, bool) else str(value).lower() not in OFF
    return type(default)(value)


def _refused(message: str) -> None:
    """The mistake is the script's and not ours: said the first time that it is made."""
    first = "settings-unusable" not in WARNINGS.counts()
    WARNINGS.add("settings-unusable", message=message)
    if first:
        print(f"headstream: settings-unusable: {message}; the script goes on without it", file=sys.stderr)
