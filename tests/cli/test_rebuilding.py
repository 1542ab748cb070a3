"""`replay` builds the live graph again, and `verify` says so."""

from __future__ import annotations

from typing import Any


def test_a_replay_of_what_is_up_is_equal_to_the_live_graph(filled: Any) -> None:
    filled.capture("r2")
    filled.until(lambda: filled.runs() == 2, "the second run")
    rebuilt = filled("replay", "--into", "oxigraph:fresh/copy", "--json")
    assert rebuilt.status == 0, rebuilt.err
    assert rebuilt.json["from"] == "spool" and rebuilt.json["refused"] == {}
    compared = filled("verify", "live", "oxigraph:fresh/copy", "--json")
    assert compared.status == 0 and compared.json["equal"] is True
    assert compared.json["hashes"][0] == rebuilt.json["hash"]
    assert filled("verify", "oxigraph:data/store", "oxigraph:fresh/copy").out.startswith("equal: ")
    assert filled("verify", "live", "spool").out.startswith("equal: "), "what is kept is replayed for it"

    one = filled("replay", "--into", "oxigraph:one", "--workflow", "tiny", "--execution", "r1", "--json")
    assert one.status == 0 and one.json["bags"] < rebuilt.json["bags"]
    differ = filled("verify", "live", "oxigraph:one")
    assert (
        differ.status == 1
        and "only in live" in differ.out
        and "only in oxigraph:one: 0 triples" in differ.out
    )

    said = filled("verify", "live", "oxigraph:one", "--json").json
    assert said["counts"][0] == sum(ours for ours, _ in said["runs"].values()) > len(said["only_left"])
    assert said["runs"]["tiny/r2"][0] > 0 and "tiny/r1" not in said["runs"]
    all_of_it = filled("verify", "live", "oxigraph:one", "--json", "--all").json
    assert len(all_of_it["only_left"]) == said["counts"][0]

    never = filled("replay", "--into", "oxigraph:never", "--until", "2020-01-01", "--json").json
    # What each of the two runs says of its packages tells no time: that is always taken.
    assert (never["events"], never["documents"]) == (2, rebuilt.json["documents"])
    ever = filled("replay", "--into", "oxigraph:ever", "--since", "2020-01-01", "--json").json
    assert ever["hash"] == rebuilt.json["hash"]

    filled("down")
    from_folder = filled("replay", "--from", "data/archive", "--into", "oxigraph:third", "--json")
    assert from_folder.json["hash"] == rebuilt.json["hash"]
    again = filled("replay", "--into", "oxigraph:third")
    assert again.status == 0 and "held" in again.err, "a store that was not empty is told"
    assert filled("verify", "live", "oxigraph:third").status == 0


def test_the_store_of_what_is_up_is_not_replayed_into(filled: Any) -> None:
    refused = filled("replay", "--into", "oxigraph:data/store")
    assert refused.status == 1 and "headstream down" in refused.said
    filled("down")
    mended = filled("replay", "--into", "oxigraph:data/store")
    assert mended.status == 0, mended.err


def test_a_wrong_place_is_one_sentence(shared: Any) -> None:
    for command, words in (
        (["replay", "--into", "nonsense"], "names no store"),
        (["replay", "--into", "oxigraph:."], "holds other things"),
        (["replay", "--into", "oxigraph:copy", "--from", "nowhere"], "nothing to replay"),
        (["replay", "--into", "http://127.0.0.1:9/namespace/n/sparql"], "127.0.0.1:9"),
        (["replay", "--into", "oxigraph:copy", "--from", "topics"], "HEADSTREAM_BOOTSTRAP"),
        (["replay", "--into", "oxigraph:copy", "--since", "monday"], "ISO 8601"),
        (["replay", "--into", "oxigraph:copy", "--from-offset", "0:1"], "a spool has none"),
        (["archive", "kept"], "HEADSTREAM_BOOTSTRAP"),
        (["verify", "live", "topics"], "HEADSTREAM_BOOTSTRAP"),
        (["verify", "live", "oxigraph:nowhere"], "is not there"),
        (["verify", "live", "nonsense"], "names no store"),
    ):
        refused = shared(*command)
        assert refused.status == 1 and words in refused.said, (command, refused.said)
    assert not (shared.home / "nowhere").exists(), "a store that is only read is not made"


def test_an_empty_data_directory_has_nothing_to_replay_or_verify(cli: Any) -> None:
    assert "nothing to replay" in cli("replay", "--into", "oxigraph:copy").said
    assert "headstream up" in cli("verify", "live", "live").said


def test_commands_for_a_broker_say_soon_that_there_is_none(cli: Any) -> None:
    away = {"HEADSTREAM_BOOTSTRAP": f"127.0.0.1:{cli.port}"}
    cli.data.mkdir()
    for command in (
        ["ship"],
        ["topics", "create"],
        ["topics", "check"],
        ["replay", "--into", "oxigraph:c", "--from", "topics"],
    ):
        refused = cli(*command, env=away, seconds=20)
        assert refused.status == 1 and f"127.0.0.1:{cli.port}" in refused.said, refused.said
        assert "no Kafka broker takes connections" in refused.said
    unset = cli("topics", "check", seconds=20)
    assert unset.status == 1 and "HEADSTREAM_BOOTSTRAP" in unset.said
    wrong = cli("ship", env={"HEADSTREAM_BOOTSTRAP": "somewhere:kafka"})
    assert wrong.status == 1 and "host:port" in wrong.said
    assert cli("ship", "absent-folder").status == 1
