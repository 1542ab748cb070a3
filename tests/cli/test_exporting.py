"""`headstream export`: from what is up and from the store on disk, the same files."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

DISK = ["--store", "oxigraph:data/store"]


@pytest.mark.parametrize("form", ["turtle", "prov-json", "ro-crate"])
def test_what_is_up_and_the_store_on_disk_write_the_same_file(form: str, shared: Any) -> None:
    files = []
    for store in ([], DISK):
        name = f"{form}-{len(store)}.out.zip"
        done = shared("export", "tiny/r1", "--format", form, "--output", name, "--json", *store)
        assert done.status == 0, done.err
        told = done.json
        assert told["run"] == "tiny/r1" and told["format"] == form and told["output"] == name
        written = Path(shared.home, name).read_bytes()
        assert len(written) == told["bytes"] > 0 and told["triples"] > told["nodes"] > 5
        files.append(written)
    assert files[0] == files[1]


@pytest.mark.parametrize(("run", "store"), [("r1", []), ("r1", DISK), ("wfe/tiny/r1", [])])
def test_a_run_goes_to_standard_output_by_any_of_its_names(run: str, store: list[str], shared: Any) -> None:
    done = shared("export", run, *store)
    assert done.status == 0 and done.out.startswith("@base"), done.err
    assert "<wfe/tiny/r1> a" in done.out and "exporting" not in done.out


def test_the_name_of_the_file_says_the_format(shared: Any) -> None:
    for name, begins in (
        ("a.ttl", b"@base"),
        ("a.provn", b"document"),
        ("a.jsonl", b'{"eventTime"'),
        ("a.zip", b"PK"),
    ):
        done = shared("export", "r1", "-o", name)
        assert done.status == 0 and f"{name}: run tiny/r1 as" in done.said, done.err
        assert Path(shared.home, name).read_bytes().startswith(begins)
    assert not list(Path(shared.home).glob(".*.part"))


def test_a_crate_names_the_licence_it_is_given_wherever_it_is_made(shared: Any) -> None:
    license, files = "https://spdx.org/licenses/CC-BY-4.0", []
    for number, store in enumerate(([], DISK)):
        done = shared("export", "r1", "-o", f"licensed-{number}.zip", "--license", license, *store)
        assert done.status == 0, done.err
        files.append(Path(shared.home, f"licensed-{number}.zip").read_bytes())
    assert files[0] == files[1]
    with zipfile.ZipFile(Path(shared.home, "licensed-0.zip")) as archive:
        graph = {each["@id"]: each for each in json.loads(archive.read("ro-crate-metadata.json"))["@graph"]}
    assert graph["./"]["license"] == {"@id": license} and license in graph
    for wrong in (["-f", "turtle", "--license", license], ["-o", "a.zip", "--license", "CC-BY"]):
        refused = shared("export", "r1", *wrong)
        assert refused.status == 1 and "--license" in refused.said, refused.said


def test_a_crate_is_a_folder_that_can_be_written_again(shared: Any) -> None:
    for _ in range(2):
        done = shared("export", "r1", "-f", "ro-crate", "-o", "crate")
        assert done.status == 0, done.err
    files = {path.name for path in Path(shared.home, "crate").iterdir()}
    assert files == {"ro-crate-metadata.json", "workflow.ttl", "run.ttl", "README.md"}
    assert json.loads(Path(shared.home, "crate", "ro-crate-metadata.json").read_text())["@graph"]


def test_a_crate_can_go_through_a_pipe(shared: Any) -> None:
    line = f"{sys.executable} -m headstream export r1 -f ro-crate > piped.zip"
    done = subprocess.run(
        line, shell=True, cwd=shared.home, env=shared.env(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(Path(shared.home, "piped.zip")) as archive:
        assert archive.testzip() is None and len(archive.namelist()) == 4


@pytest.mark.parametrize(
    ("run", "store", "words"),
    [
        ("absolutely-not", [], "there is no run 'absolutely-not'; of 1 there is tiny/r1"),
        ("tny/r1", [], "did you mean tiny/r1?"),
        ("tiny/r2", DISK, "did you mean tiny/r1?"),
    ],
)
def test_a_run_that_is_not_there_is_one_sentence_with_the_near_names(
    run: str, store: list[str], words: str, shared: Any
) -> None:
    refused = shared("export", run, "-o", "absent.ttl", *store)
    assert refused.status == 1 and refused.out == "" and words in refused.said
    assert not list(Path(shared.home).glob("*absent*")), "nothing is left of an export that failed"


def test_a_wrong_command_is_one_sentence(shared: Any) -> None:
    Path(shared.home, "full").mkdir(exist_ok=True)
    Path(shared.home, "full", "thesis.tex").touch()
    for arguments, words in (
        ("r1 --json", "give --output"),
        ("r1 -f ro-crate -o full", "holds other things than a crate"),
        ("r1 -f ro-crate -o script.py", "is a file"),
        ("r1 -o nowhere/a.ttl", "No such file or directory"),
        ("r1 --store nonsense", "no store to ask"),
    ):
        refused = shared("export", *arguments.split())
        assert refused.status == 1 and refused.out == "" and words in refused.said, (arguments, refused.said)
    assert shared("export", "r1", "-f", "excel").status == 2
    assert Path(shared.home, "full", "thesis.tex").exists()


def test_a_limit_of_the_api_does_not_bind_who_asks_the_store(shared: Any) -> None:
    limited = {"HEADSTREAM_API_MAX_EXPORT_TRIPLES": "5"}
    assert shared("export", "r1", *DISK, env=limited).status == 0


def test_nothing_to_export_from_says_how_to_begin(cli: Any) -> None:
    told = cli("export", "a/b", "-o", "x.ttl")
    assert told.status == 1 and "headstream up" in told.said
    assert not (cli.home / "x.ttl").exists()
