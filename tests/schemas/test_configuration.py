"""A settings file stands beneath the variables, is found where people expect it, and tells no secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headstream.schemas.configuration import beneath, configured, settings_file
from headstream.schemas.errors import SettingsUnusable


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder and a working directory two folders below it."""
    (tmp_path / "home" / "work" / "deep").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "home" / "work" / "deep")
    return tmp_path / "home"


def write(folder: Path, text: str = "bag_size = 7", name: str = "headstream.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def test_a_file_is_named_or_in_the_working_directory_or_above_it_or_the_users(home: Path) -> None:
    assert settings_file({}) is None
    for folder in (home / ".config" / "headstream", home, home / "work", home / "work" / "deep"):
        path = write(folder)
        found = settings_file({})
        assert found is not None and found.path == path
    named = write(home, name="other.toml")
    found = settings_file({"HEADSTREAM_CONFIG": "~/other.toml"})
    assert found is not None and found.path == named
    assert settings_file({"HEADSTREAM_CONFIG": "off"}) is None


def test_nothing_above_the_root_of_a_repository_counts(home: Path) -> None:
    write(home)
    (home / "work" / ".git").mkdir()
    assert settings_file({}) is None


def test_a_folder_above_that_may_be_anybodys_is_not_looked_into(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared" / "mine").mkdir(parents=True)
    write(tmp_path / "shared")
    monkeypatch.chdir(tmp_path / "shared" / "mine")
    assert settings_file({}) is None
    write(tmp_path / "shared" / "mine")
    assert settings_file({}) is not None


def test_keys_are_variables_and_tables_are_their_first_words(home: Path) -> None:
    path = write(home, """
        bootstrap = ["a:1", "b:2"]
        git = false
        exit_seconds = 2.5
        spool = "spool"
        store_url = "oxigraph:graph"
        data = "~/data"
        [sink]
        batch_bytes = 10
        [kafka.sasl]
        username = "me"
        """)  # fmt: skip
    found = settings_file({})
    assert found is not None and found.path == path and found.unknown == ()
    assert found.values == {
        "HEADSTREAM_BOOTSTRAP": "a:1,b:2",
        "HEADSTREAM_GIT": "false",
        "HEADSTREAM_EXIT_SECONDS": "2.5",
        "HEADSTREAM_SPOOL": str(home / "spool"),
        "HEADSTREAM_STORE_URL": f"oxigraph:{home / 'graph'}",
        "HEADSTREAM_DATA": str(home / "data"),
        "HEADSTREAM_SINK_BATCH_BYTES": "10",
        "HEADSTREAM_KAFKA_SASL_USERNAME": "me",
    }


def test_a_variable_wins_over_the_file_and_an_empty_one_does_not(home: Path) -> None:
    write(home, 'bag_size = 7\nspool = "off"')
    environ = {"HEADSTREAM_BAG_SIZE": "9", "HEADSTREAM_SPOOL": "", "HEADSTREAM_RANK": "", "OTHER": ""}
    assert configured(environ) == {
        **environ, "HEADSTREAM_BAG_SIZE": "9", "HEADSTREAM_SPOOL": "off", "HEADSTREAM_RANK": ""
    }  # fmt: skip
    assert beneath(environ, None) is environ


def test_a_file_that_changes_is_read_again(home: Path) -> None:
    write(home, "bag_size = 7")
    assert configured({})["HEADSTREAM_BAG_SIZE"] == "7"
    write(home, "bag_size = 10")
    assert configured({})["HEADSTREAM_BAG_SIZE"] == "10"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("token = hush", "is no TOML"),
        ("[kafka]\nsasl_password = 2020-01-01", "kafka.sasl_password has a value that no setting has"),
        ("[kafka]\nsasl_password = [['hush']]", "kafka.sasl_password has a value that no setting has"),
        ("[api]\ntokn = 'hush'", "api.tokn is no setting"),
        ("config = 'hush'", "config is no setting"),
        ("BAG_SIZE = 'hush'", "bag_size? is no setting"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_file_and_without_its_value(
    home: Path, text: str, said: str
) -> None:
    path = write(home, text)
    with pytest.raises(SettingsUnusable) as refused:
        configured({})
    assert said in str(refused.value) and str(path) in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_named_file_that_is_not_there_or_is_no_text_is_refused(home: Path) -> None:
    with pytest.raises(SettingsUnusable, match="No such file"):
        configured({"HEADSTREAM_CONFIG": str(home / "none.toml")})
    (home / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsUnusable, match="no UTF-8"):
        configured({"HEADSTREAM_CONFIG": str(home / "binary.toml")})


def test_a_working_directory_that_is_gone_is_no_reason_to_fail(home: Path) -> None:
    os.rmdir(home / "work" / "deep")
    assert settings_file({}) is None
