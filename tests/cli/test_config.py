"""`headstream config` lists every setting, where it comes from, and no secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headstream.cli import app
from headstream.cli.configuration import in_force
from headstream.schemas.settings import SETTINGS

from ..environment import without_settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
ROW = re.compile(r"^\| `(HEADSTREAM_[A-Z_]+\*?)` \| ([^|]*) \| [^|]* \| ([^|]*) \|", re.M)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("HEADSTREAM_", "SLURM_")):
            monkeypatch.delenv(name)


def config() -> dict[str, Any]:
    result = CliRunner().invoke(app, ["config", "--json"])
    assert result.exit_code == 0
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def setting(name: str) -> dict[str, Any]:
    (found,) = [each for each in config()["settings"] if each["name"] == name]
    return found  # type: ignore[no-any-return]


def test_the_command_has_the_settings_of_the_page_with_their_defaults_and_readers_and_no_other() -> None:
    rows = ROW.findall(PAGE.read_text("utf-8"))
    documented = {name: (default.replace("`", ""), readers) for name, default, readers in rows}
    assert {each.name: (each.default, each.readers) for each in SETTINGS} == documented
    assert len(SETTINGS) == len(rows) == len(documented)


def test_a_setting_that_is_unset_or_empty_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTREAM_BAG_SIZE", "")
    assert setting("HEADSTREAM_BAG_SIZE") == {
        "name": "HEADSTREAM_BAG_SIZE", "value": "50", "source": "default", "readers": "capture"
    }  # fmt: skip
    assert setting("HEADSTREAM_STORE_URL")["value"] is None


def test_a_setting_of_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTREAM_BAG_SIZE", "7")
    found = setting("HEADSTREAM_BAG_SIZE")
    assert (found["value"], found["source"]) == ("7", "environment")
    lines = CliRunner().invoke(app, ["config"]).stdout.splitlines()
    (line,) = [each for each in lines if "HEADSTREAM_BAG_SIZE" in each]
    assert line.split() == ["HEADSTREAM_BAG_SIZE", "7", "environment", "capture"]


def test_a_default_that_depends_on_others_is_told_as_it_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTREAM_DATA", str(tmp_path))
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "big")
    spool = setting("HEADSTREAM_SPOOL")
    assert (spool["value"], spool["source"]) == (str(tmp_path / "spool"), "default")
    assert setting("HEADSTREAM_CLUSTER")["value"] == "big"


def test_no_secret_is_ever_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTREAM_API_TOKEN", "hush1")
    monkeypatch.setenv("HEADSTREAM_KAFKA_SASL_PASSWORD", "hush2")
    monkeypatch.setenv("HEADSTREAM_STORE_URL", "https://me:hush3@store.example.org/sparql?key=hush4")
    monkeypatch.setenv("HEADSTREAM_API_TOKN", "hush5")
    for arguments in (["config"], ["config", "--json"]):
        assert "hush" not in CliRunner().invoke(app, arguments).output
    assert setting("HEADSTREAM_API_TOKEN")["value"] == "set"
    assert setting("HEADSTREAM_KAFKA_SASL_PASSWORD")["value"] == "set"
    assert setting("HEADSTREAM_STORE_URL")["value"] == "https://...@store.example.org/sparql?..."


def test_a_name_that_nothing_reads_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTREAM_SPOL", "/tmp")
    assert config()["unknown"] == ["HEADSTREAM_SPOL"]
    assert "HEADSTREAM_SPOL is set, and nothing reads it" in CliRunner().invoke(app, ["config"]).stderr


def test_a_port_of_kafka_is_no_option_of_librdkafka() -> None:
    found = [each for each in in_force({"HEADSTREAM_KAFKA_PORT": "9"}) if each.value == "9"]
    assert [each.name for each in found] == ["HEADSTREAM_KAFKA_PORT"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file of the working directory; what a command takes from it is forgotten afterwards."""
    path = tmp_path / "headstream.toml"
    path.write_text(
        "bag_size = 7\nspool_bytes = 1000\n[api]\ntoken = 'hush'\n[kafka]\nsasl_password = 'hush'"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("BAG_SIZE", "SPOOL_BYTES", "API_TOKEN", "KAFKA_SASL_PASSWORD"):
        monkeypatch.setenv(f"HEADSTREAM_{name}", "")
    return path


def test_a_setting_of_the_file_says_which_file_and_a_variable_wins_over_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTREAM_SPOOL_BYTES", "2000")
    found = {each["name"]: (each["value"], each["source"]) for each in config()["settings"]}
    assert found["HEADSTREAM_BAG_SIZE"] == ("7", str(file))
    assert found["HEADSTREAM_SPOOL_BYTES"] == ("2000", "environment")
    assert found["HEADSTREAM_SEGMENT_BYTES"] == ("2097152", "default")
    assert found["HEADSTREAM_API_TOKEN"] == ("set", str(file))
    assert found["HEADSTREAM_KAFKA_SASL_PASSWORD"] == ("set", str(file))
    assert found["HEADSTREAM_CONFIG"] == (str(file), "default")


def test_a_secret_of_the_file_is_never_shown(file: Path) -> None:
    for arguments in (["config"], ["config", "--json"]):
        assert "hush" not in CliRunner().invoke(app, arguments).output


def test_a_command_without_a_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADSTREAM_CONFIG", "off")
    assert config()["file"] is None
    assert "no settings file" in CliRunner().invoke(app, ["config"]).stderr


@pytest.mark.parametrize(
    "module", ["headstream", "headstream.stream_processors", "headstream.sinks", "headstream.query_api"]
)
def test_a_file_with_a_key_that_is_no_setting_stops_commands_and_services_with_a_sentence(
    module: str, tmp_path: Path
) -> None:
    path = tmp_path / "some.toml"
    path.write_text("tokn = 'hush'")
    arguments = [sys.executable, "-m", module, *(["status"] if module == "headstream" else [])]
    environ = {**os.environ, "HEADSTREAM_CONFIG": str(path)}
    done = subprocess.run(arguments, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (1, 2)
    assert f"{path}: tokn is no setting" in done.stderr
    assert "Traceback" not in done.stderr and "hush" not in done.stderr


def test_what_a_command_starts_has_the_settings_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "headstream.toml").write_text('data = "here"')
    environ = without_settings()
    done = subprocess.run(
        [sys.executable, "-m", "headstream", "status"],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert str(tmp_path / "here") in done.stdout + done.stderr
