"""Settings of a script: arguments win over variables, these over the file, and none stops the script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Settings
from headstream.capture.configured import in_force

from ..environment import without_settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "some.toml"
    path.write_text('bag_size = 3\nsegment_bytes = 4096\ntopic_prefix = "file"\ncluster = "big"')
    return path


def test_each_setting_is_that_of_the_argument_else_of_the_variable_else_of_the_file(config: Path) -> None:
    environ = {"HEADSTREAM_CONFIG": str(config), "HEADSTREAM_SEGMENT_BYTES": "8192", "HEADSTREAM_RANK": "7"}
    found = in_force({"rank": "none"}, environ)
    assert (found.rank, found.segment_bytes, found.bag_size, found.topic_prefix) == ("none", 8192, 3, "file")
    assert in_force(None, environ).rank == "7"
    assert capture.warnings() == {}


def test_an_object_counts_as_it_is(config: Path) -> None:
    given = Settings(bag_size=9)
    assert in_force(given, {"HEADSTREAM_CONFIG": str(config), "HEADSTREAM_RANK": "7"}) is given


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({"spool": "a"}, "spool", Path("a").absolute()),
        ({"spool": None}, "spool", None),
        ({"spool": "off"}, "spool", None),
        ({"bag_size": "12"}, "bag_size", 12),
        ({"git": "off"}, "git", False),
        ({"online": False}, "online", False),
        ({"checksum": "sha256"}, "checksum", "sha256"),
        ({"bootstrap": None}, "bootstrap", None),
        ({"kafka": {"sasl.username": "me"}}, "kafka", (("sasl.username", "me"),)),
        ({"exit_seconds": 1}, "exit_seconds", 1.0),
    ],
)
def test_arguments_are_taken_as_people_write_them(
    given: dict[str, Any], field: str, expected: object
) -> None:
    found = getattr(in_force(given, {"HEADSTREAM_CONFIG": "off", "HEADSTREAM_BOOTSTRAP": "b:1"}), field)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize("given", [{"bagsize": 1}, {"bag_size": "many"}, {"bag_size": None}, {"kafka": 3}])
def test_an_argument_that_cannot_be_used_is_said_counted_and_left_out(
    given: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_force(given, {"HEADSTREAM_CONFIG": "off"}) == Settings.from_env({})
    assert in_force(given, {"HEADSTREAM_CONFIG": "off"}) == Settings.from_env({})
    assert capture.warnings() == {"settings-unusable": 2}
    assert capsys.readouterr().err.count("settings-unusable") == 1


@pytest.mark.parametrize("text", ["token = hush", "tokn = 'hush'\nbag_size = 3", None])
def test_a_file_that_cannot_be_used_is_said_counted_and_stops_no_script(
    tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.toml"
    if text is not None:
        path.write_text(text)
    found = in_force(None, {"HEADSTREAM_CONFIG": str(path)})
    assert found.bag_size == (3 if text and "bag_size" in text else Settings().bag_size)
    assert capture.warnings() == {"settings-unusable": 1}
    said = capsys.readouterr().err
    assert str(path) in said and "hush" not in said


def test_a_script_takes_the_file_of_its_folder_and_importing_takes_none(tmp_path: Path) -> None:
    (tmp_path / "headstream.toml").write_text('spool = "here"\ngit = false')
    code = """if True:
        import sys
        from headstream import capture
        assert "tomllib" not in sys.modules
        with capture.workflow("wf"):
            pass
        print("tomllib" in sys.modules)
    """
    environ = without_settings()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n" and done.stderr == ""
    assert len(list((tmp_path / "here").iterdir())) == 1
