"""Settings from a file: what stands in it is beneath the HEADSTREAM_* variables, for every part alike.

The file is the one that HEADSTREAM_CONFIG names ("off": none); else `headstream.toml` in the working
directory, or in a folder above it as far as the root of its repository or the home folder; else
`headstream.toml` in the platform's folder for user configuration. Folders above that are in neither
a repository nor the home folder may be anybody's, so they are not looked into.

A key is the name of a variable in lower case and without HEADSTREAM_; tables join their names with
those of their keys, so `[sink] batch_bytes` is HEADSTREAM_SINK_BATCH_BYTES. A relative path counts
from the folder of the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from headstream.schemas.errors import SettingsUnusable

VARIABLE: Final = "HEADSTREAM_CONFIG"
NAME: Final = "headstream.toml"
OFF: Final = frozenset({"", "0", "off", "no", "none", "false"})  # What says no where a text may stand.
_KEY: Final = re.compile(r"[a-z][a-z0-9_]*")
_OXIGRAPH: Final = "oxigraph:"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFile:
    """What a file says, as variables, and the keys that are no settings."""

    path: Path
    values: Mapping[str, str]
    unknown: tuple[str, ...] = ()


def settings_file(environ: Mapping[str, str]) -> SettingsFile | None:
    """The file that counts here, or None; SettingsUnusable if it cannot be read.

    The message never shows a value: there may be secrets among them.
    """
    path = _find(environ)
    if path is None:
        return None
    try:
        found = path.stat()
        return _read(path, (found.st_mtime_ns, found.st_size, found.st_ino))
    except OSError as error:
        raise SettingsUnusable(
            f"the settings file {path} cannot be read: {error.strerror}; mend it, or set {VARIABLE} to "
            "another file or to off"
        ) from error


def beneath(environ: Mapping[str, str], found: SettingsFile | None) -> Mapping[str, str]:
    """The environment with the settings of a file where a variable is unset or empty."""
    if found is None:
        return environ
    return {**found.values, **{name: value for name, value in environ.items() if _says(found, name, value)}}


def configured(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of a service, file included; SettingsUnusable also for a key that is no setting."""
    found = settings_file(environ)
    if found is not None and found.unknown:
        raise SettingsUnusable(
            f"{found.path}: {', '.join(found.unknown)} is no setting; "
            "docs/reference/settings.md lists them, `headstream config` those in force"
        )
    return beneath(environ, found)


def _says(found: SettingsFile, name: str, value: str) -> bool:
    return bool(value) or name not in found.values


def _find(environ: Mapping[str, str]) -> Path | None:
    given = environ.get(VARIABLE)
    if given:
        return None if given.lower() in OFF else Path(os.path.abspath(os.path.expanduser(given)))
    for folder in _folders():
        path = folder / NAME
        if path.is_file():
            return path
    from platformdirs import user_config_path  # Imported late: an import of capture stays light.

    path = user_config_path("headstream", appauthor=False) / NAME
    return path if path.is_file() else None


def _folders() -> Iterator[Path]:
    """The working directory, and the folders above it if they end in a repository or the home folder."""
    try:
        here = Path.cwd()
    except OSError:  # It has been deleted.
        return
    above = []
    home = os.path.expanduser("~")
    for folder in (here, *here.parents):
        above.append(folder)
        if str(folder) == home or (folder / ".git").exists():
            yield from above
            return
    yield here


@lru_cache(maxsize=8)
def _read(path: Path, state: tuple[int, int, int]) -> SettingsFile:
    import tomllib  # This and the table only where there is a file.

    from headstream.schemas.settings import PREFIX, SETTINGS, stands_for

    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = error if isinstance(error, tomllib.TOMLDecodeError) else "it is no UTF-8"
        raise SettingsUnusable(f"the settings file {path} is no TOML: {reason}") from None
    values, unknown = {}, []
    for key, value in _flat(path, content, ()):
        name = PREFIX + key.replace(".", "_").upper()
        setting = next((each for each in SETTINGS if stands_for(each, name)), None)
        if setting is None or name == VARIABLE:
            unknown.append(key)
        else:
            values[name] = _in_folder(value, path.parent) if setting.path else value
            if name == "HEADSTREAM_STORE_URL" and value.startswith(_OXIGRAPH):
                values[name] = _OXIGRAPH + _in_folder(value.removeprefix(_OXIGRAPH), path.parent)
    return SettingsFile(path=path, values=values, unknown=tuple(unknown))


def _flat(path: Path, table: Mapping[str, Any], outer: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        name = ".".join((*outer, key))
        if isinstance(value, dict):
            yield from _flat(path, value, (*outer, key))
        elif not _KEY.fullmatch(key):
            yield name.lower() + "?", ""
        else:
            yield name, _text(path, name, value)


def _text(path: Path, name: str, value: Any) -> str:
    """A value as a variable would say it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case list() if all(isinstance(each, str) for each in value):
            return ",".join(value)
    raise SettingsUnusable(
        f"{path}: {name} has a value that no setting has ({type(value).__name__}); "
        "give a text, a number, true or false, or a list of texts"
    )


def _in_folder(value: str, folder: Path) -> str:
    """A relative path as one from the folder of the file; a word that says no as it is."""
    return value if value.lower() in OFF else str(folder / os.path.expanduser(value))
