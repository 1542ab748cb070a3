"""However a script ends: its exit code and its output are its own, and the wait is bounded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headstream.capture.reading import spools
from headstream.schemas.events import Event, RunEnded, StepStarted

Told = Callable[[], list[Event]]
AWAY = "127.0.0.1:9"
SECONDS = 1.0
LEFT = "headstream: not all provenance has reached the broker; it is kept in "

# Whoever runs the tests in the background may have had these signals ignored, and that is inherited.
BODY = """
import atexit, os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
for each in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(each, signal.SIG_DFL)
{before}
from headstream import capture
with capture.workflow("w") as run:
    for turn in run.loop("t", range(50)):
        turn.generated(loss=0.5)
    {within}
{after}
"""


def start(
    spool: Path, *, within: str = "pass", before: str = "", after: str = "", **more: str
) -> subprocess.Popen[str]:
    text = BODY.format(
        within=textwrap.indent(textwrap.dedent(within), "    ").strip(),
        before=textwrap.dedent(before),
        after=textwrap.dedent(after),
    )
    env = {
        **os.environ,
        "HEADSTREAM_SPOOL": str(spool),
        "HEADSTREAM_GIT": "off",
        "HEADSTREAM_BOOTSTRAP": AWAY,
        "HEADSTREAM_EXIT_SECONDS": str(SECONDS),
        **more,
    }
    return subprocess.Popen(
        [sys.executable, "-c", text], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(spool: Path, **given: str) -> tuple[int, str, str]:
    with start(spool, **given) as child:
        out, err = child.communicate(timeout=60)
        return child.returncode, out, err


def without_ours(err: str, spool: Path) -> str:
    """What the script itself said; what headstream said is exactly one line."""
    ours = [line for line in err.splitlines(keepends=True) if line.startswith("headstream: ")]
    assert ours == [f"{LEFT}{spool} for `headstream ship`\n"]
    return err.replace(ours[0], "")


@pytest.mark.parametrize("shipper", ["process", "thread"])
@pytest.mark.parametrize(
    ("within", "code"),
    [
        ("pass", 0),
        ("sys.exit()", 0),
        ("sys.exit(0)", 0),
        ("sys.exit(7)", 7),
        ("sys.exit('no')", 1),
        ("raise SystemExit(True)", 1),
        ("raise ValueError('theirs')", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT),
    ],
)
def test_the_exit_code_and_the_output_of_a_script_are_its_own(
    within: str, code: int, shipper: str, spool: Path, tmp_path: Path
) -> None:
    """Compared with the same script whose capture is told to ship nothing."""
    found = ended(spool, within=within, HEADSTREAM_SHIPPER=shipper)
    plain = ended(tmp_path / "plain", within=within, HEADSTREAM_TRANSPORT="offline")
    assert found[0] == plain[0] == code
    assert found[1] == plain[1] and without_ours(found[2], spool) == plain[2]
    assert len(spools(spool)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGQUIT])
def test_a_signal_ends_a_script_as_if_we_were_not_there(number: int, spool: Path, told: Told) -> None:
    code, _, err = ended(spool, within=f"os.kill(os.getpid(), {number})")
    assert code == -number and err == ""
    assert len([e for e in told() if not isinstance(e, StepStarted)]) > 0 and len(spools(spool)) == 1


def test_a_handler_of_the_script_for_sigterm_is_left_alone(spool: Path, told: Told) -> None:
    before = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(12))"
    code, _, err = ended(spool, before=before, within="os.kill(os.getpid(), signal.SIGTERM)")
    assert code == 12 and without_ours(err, spool) == ""
    assert [e.outcome for e in told() if isinstance(e, RunEnded)] == ["ERRORED"]


@pytest.mark.parametrize("shipper", ["process", "thread"])
def test_with_the_broker_away_the_exit_waits_no_longer_than_it_may(shipper: str, spool: Path) -> None:
    after = "print(time.monotonic(), flush=True)"
    code, out, err = ended(spool, after=after, HEADSTREAM_SHIPPER=shipper)
    took = time.monotonic() - float(out)  # CLOCK_MONOTONIC is that of the machine.
    assert code == 0 and without_ours(err, spool) == ""
    assert took < SECONDS + 15  # What is beyond is the machine's, which may have other things to do.


@pytest.mark.parametrize("shipper", ["process", "thread"])
def test_an_exit_that_has_no_time_does_not_say_that_all_was_shipped(shipper: str, spool: Path) -> None:
    code, _, err = ended(spool, HEADSTREAM_SHIPPER=shipper, HEADSTREAM_EXIT_SECONDS="0.02")
    assert code == 0 and without_ours(err, spool) == "" and len(spools(spool)) == 1


def test_a_second_interrupt_ends_the_wait_and_leaves_all_in_the_spool(spool: Path, told: Told) -> None:
    with start(spool, after="print('over', flush=True)", HEADSTREAM_EXIT_SECONDS="120") as child:
        assert child.stdout is not None and child.stdout.readline() == "over\n"
        asleep = 0
        deadline = time.monotonic() + 60
        while asleep < 5:  # It does nothing any more but wait for its shipper.
            assert time.monotonic() < deadline
            state = Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0]
            asleep = asleep + 1 if state == "S" else 0
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0 and without_ours(err, spool) == ""
    assert any(isinstance(event, RunEnded) for event in told())


def test_what_a_script_does_at_its_exit_is_captured_before_us_and_counted_after(spool: Path) -> None:
    before = """
    late = []
    def ours_is_over():
        late[0].task("late").begin().end()
        print("last")
    atexit.register(ours_is_over)  # Registered first, so it is called last.
    """
    within = "late.append(run); atexit.register(lambda: run.task('early'))"
    code, out, err = ended(spool, before=before, within=within, HEADSTREAM_TRANSPORT="offline")
    assert (code, out) == (0, "last\n") and "Traceback" not in err


def test_daemon_threads_that_capture_until_the_end_hurt_nobody(spool: Path, told: Told) -> None:
    within = """
    def work():
        while True:
            run.task("in thread").begin().end()
    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(0.2)
    """
    for shipper in ("process", "thread"):
        code, _, err = ended(spool / shipper, within=within, HEADSTREAM_SHIPPER=shipper)
        assert code == 0 and "Traceback" not in err and "Fatal" not in err, err
        assert err.count("\n") == 1 and "after-end" in err


def test_os_exit_ends_at_once_and_loses_nothing(spool: Path, told: Told) -> None:
    code, _, err = ended(spool, within="os._exit(9)")
    assert (code, err) == (9, "")
    assert sum(hasattr(event, "index") and len(event.index) for event in told()) == 50
