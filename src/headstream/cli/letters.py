"""`headstream dead-letters list`, `show`, `redrive` and `drop`: what was refused, and what becomes of it."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstream.cli.advancing import advancing
from headstream.cli.telling import Data, Json, answers, instant, places, tell
from headstream.errors import CommandError
from headstream.schemas.dead_letters import ASKED, DROPPED, MOVED, REDRIVEN, RESENT, WAITING, Kept

if TYPE_CHECKING:
    from headstream.letters import Box, Wanted
    from headstream.schemas.facts import DeadLetter

# `headstream.letters` loads sinks and tracker, which other commands need not: imported where it is used.

WAIT_SECONDS = 30.0
HEAD_BYTES = 64
ALL_STATES = frozenset({WAITING, ASKED, REDRIVEN, DROPPED, RESENT, MOVED})

Ids = Annotated[list[str] | None, typer.Argument(help="Ids from `list`.", show_default="all that fit")]
Reason = Annotated[list[str] | None, typer.Option("--reason", help="Only these reasons (repeatable).")]
Stage = Annotated[
    list[str] | None, typer.Option("--stage", help="Only what tracker, sink or gateway refused.")
]
Topic = Annotated[list[str] | None, typer.Option("--topic", help="Only what came from this topic.")]
Workflow = Annotated[str | None, typer.Option("--workflow", help="Only of this workflow.")]
Run = Annotated[str | None, typer.Option("--run", help="Only of the run with this execution id.")]
Since = Annotated[
    str | None, typer.Option("--since", help="Only from this time on, or so long ago (2h, 3d).")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="No more than so many, oldest first.")]
All = Annotated[bool, typer.Option("--all", help="Also those that are settled: sent again, or dropped.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which letters it would be.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait until the embedded service has sent them.")]

family = typer.Typer(
    no_args_is_help=True, help="List what was refused, look at it, send it again or drop it."
)


def register(app: typer.Typer) -> None:
    app.add_typer(family, name="dead-letters")


@family.command("list")
def list_letters(
    reason: Reason = None,
    stage: Stage = None,
    topic: Topic = None,
    workflow: Workflow = None,
    run: Run = None,
    since: Since = None,
    limit: Limit = None,
    everything: All = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """List dead letters that wait, oldest first: where they came from and why they were refused."""
    wanted = _wanted(None, reason, stage, topic, workflow, run, since, settled=everything)
    _, found = _found(data, wanted)
    shown = found[:limit]
    if as_json:
        typer.echo(json.dumps([_facts(each) for each in shown]))
        return
    if shown:
        _table(shown)
    reasons = Counter(each.letter.reason for each in found)
    counted = ", ".join(f"{count} {name}" for name, count in reasons.most_common())
    tell(f"{len(found)} dead letters: {counted}" if found else "no dead letters")
    if len(shown) < len(found):
        tell(f"{len(found) - len(shown)} more are not shown (--limit)")


@family.command()
def show(
    letter: Annotated[str, typer.Argument(help="An id from `list`.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show one letter whole: why it was refused, and what it holds as far as that can be read."""
    box, found = _found(data, _wanted([letter], settled=True))
    (kept,) = found
    whole = box.letter(kept)
    facts = {**_facts(kept), "key": whole.key.decode("utf-8", "backslashreplace"), **_payload(whole)}
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        if name in ("payload", "unreadable"):
            continue
        typer.echo(f"{name:11} {'' if value is None else _printable(str(value))}")
    if "payload" in facts:
        typer.echo(json.dumps(facts["payload"], indent=2))
    else:
        typer.echo(f"{'unreadable':11} {_printable(str(facts['unreadable']))}")


@family.command()
def redrive(
    ids: Ids = None,
    reason: Reason = None,
    stage: Stage = None,
    topic: Topic = None,
    workflow: Workflow = None,
    run: Run = None,
    since: Since = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    wait: Wait = WAIT_SECONDS,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Send letters again to where they came from, once the cause is mended; a repeat changes nothing.

    A bag that waits for its definition is left alone unless its id or --reason definition-missing asks
    for it: it is sent by itself when the definition comes.
    """
    from headstream.letters import is_foreign, redrivable

    wanted = _wanted(ids, reason, stage, topic, workflow, run, since)
    box, every = _found(data, wanted)
    found = [each for each in every if not is_foreign(each)]
    chosen = [each for each in found if redrivable(each, wanted)][:limit]
    parked = sum(not redrivable(each, wanted) for each in found)
    sent = 0
    if chosen and not dry_run:
        with advancing("sending again", "letters") as advance:
            sent = box.redrive(chosen, advance, wait)
    if as_json:
        done = {"chosen": [each.id for each in chosen], "sent": sent, "parked": parked, "dry_run": dry_run}
        typer.echo(json.dumps(done))
    else:
        _say(chosen, "would be sent again" if dry_run else "sent again", len(chosen) if dry_run else sent)
    if parked:
        tell(f"{parked} bags wait for their definition and are sent by themselves when it comes")
    if len(found) < len(every):
        tell(
            f"{len(every) - len(found)} are messages of other clients: mend what `show` prints and bring it "
            "in by `headstream ingest`"
        )
    if sent < len(chosen) and not dry_run:
        tell(
            f"{len(chosen) - sent} are sent when the embedded service gets to them; if it is not up, "
            "`headstream up` starts it"
        )


@family.command()
def drop(
    ids: Ids = None,
    reason: Reason = None,
    stage: Stage = None,
    topic: Topic = None,
    workflow: Workflow = None,
    run: Run = None,
    since: Since = None,
    limit: Limit = None,
    everything: Annotated[bool, typer.Option("--all", help="Drop all that wait.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Drop letters that nobody wants: they are no longer listed or sent. Wants ids, a filter or --all.

    Their bytes stay where they are for as long as those are kept anyway.
    """
    wanted = _wanted(ids, reason, stage, topic, workflow, run, since)
    if wanted.everything and not everything:
        raise CommandError(
            "nothing says which letters to drop; give ids, a filter such as --reason, or --all"
        )
    box, found = _found(data, wanted)
    chosen = found[:limit]
    if chosen and not (dry_run or yes):
        if as_json:
            raise CommandError(f"{len(chosen)} letters would be dropped; with --json, --yes must say so")
        typer.confirm(f"drop {len(chosen)} dead letters?", abort=True, err=True)
    if chosen and not dry_run:
        box.drop(chosen)
    if as_json:
        done = {"chosen": [each.id for each in chosen], "dropped": 0 if dry_run else len(chosen)}
        typer.echo(json.dumps({**done, "dry_run": dry_run}))
    else:
        _say(chosen, "would be dropped" if dry_run else "dropped", len(chosen))


def _wanted(
    ids: list[str] | None = None,
    reasons: list[str] | None = None,
    stages: list[str] | None = None,
    topics: list[str] | None = None,
    workflow: str | None = None,
    run: str | None = None,
    since: str | None = None,
    *,
    settled: bool = False,
) -> Wanted:
    from headstream.letters import Wanted, moment

    return Wanted(
        ids=frozenset(ids or ()),
        reasons=frozenset(reasons or ()),
        stages=frozenset(stages or ()),
        topics=frozenset(topics or ()),
        workflow=workflow,
        execution=run,
        since=None if since is None else moment(since, datetime.now(UTC)),
        states=ALL_STATES if settled else frozenset({WAITING, ASKED}),
    )


def _found(data: Path | None, wanted: Wanted) -> tuple[Box, list[Kept]]:
    """The box that is meant, and the letters in it that are wanted; an id that is none is an error."""
    from headstream.letters import box, demand

    opened = box(places(data))
    with advancing("reading", "letters") as advance:
        kept = opened.kept(advance)
    demand(wanted.ids, kept)
    return opened, [each for each in kept if wanted.holds(each)]


def _facts(kept: Kept) -> dict[str, Any]:
    from headstream.letters import run_of

    letter = kept.letter
    workflow, run = run_of(letter)
    return {
        "id": kept.id,
        "state": kept.state,
        "stage": letter.stage,
        "reason": letter.reason,
        "error": letter.error,
        "message": letter.message,
        "at": instant(letter.at),
        "attempt": letter.attempt,
        "topic": letter.origin.topic,
        "partition": letter.origin.partition,
        "offset": letter.origin.offset,
        "workflow": workflow,
        "run": run,
        "definition": kept.definition,
        "bytes": kept.size,
    }


def _payload(letter: DeadLetter) -> dict[str, Any]:
    """What the letter holds as JSON; or, where it cannot be read, why and how it begins."""
    from headstream.letters import Foreign, decoded
    from headstream.schemas.documents import Document
    from headstream.schemas.events import Bag
    from headstream.spools import as_json

    held = decoded(letter)
    if isinstance(held, Foreign):
        try:
            return {"payload": json.loads(held.text)}
        except (ValueError, RecursionError):
            return {"payload": held.text}
    if isinstance(held, str):
        return {"unreadable": held, "head": letter.value[:HEAD_BYTES].hex(" ", -2)}
    if isinstance(held, Document):
        return {"payload": as_json(held)}
    if isinstance(held, Bag):
        about = {"workflow": held.workflow, "execution": held.execution, "definition": held.definition}
        return {"payload": {**about, "events": [as_json(event) for event in held.events]}}
    return {
        "payload": {"workflow": held.workflow, "execution": held.execution, "facts": [*map(list, held.facts)]}
    }


def _table(shown: list[Kept]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("id", "at", "stage", "reason", "attempt", "run", "message"):
        table.add_column(column, no_wrap=column not in ("message", "run"))
    for each in shown:
        facts = _facts(each)
        run = "/".join(filter(None, (facts["workflow"], facts["run"])))
        state = "" if each.state == WAITING else f" ({each.state})"
        reason = facts["reason"] + state
        cells = (facts["id"], facts["at"], facts["stage"], reason, str(facts["attempt"]), run)
        # Text, for a message may hold brackets that rich would take for markup.
        table.add_row(*(Text(_printable(cell)) for cell in (*cells, facts["message"])))
    answers().print(table)


def _say(chosen: list[Kept], what: str, count: int) -> None:
    for each in chosen:
        typer.echo(each.id)
    tell(f"{count} of {len(chosen)} dead letters {what}" if chosen else "no dead letter fits")


def _printable(text: str) -> str:
    """Control characters made visible: a refused message must not drive somebody's terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
