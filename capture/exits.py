"""What happens when the process ends: flush with a deadline, leave the rest, say so in one line."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from headstream.capture import errors, recorder
from headstream.capture.errors import LOSSES
from headstream.capture.files import FILES
from headstream.capture.owner import leave_behind
from headstream.capture.segments import room_beside
from headstream.capture.settings import Settings
from headstream.capture.spool import Writer

if TYPE_CHECKING:
    from headstream.capture.background import Background
    from headstream.capture.delegate import Delegate
    from headstream.capture.transports.base import Transport

_watching = False
_background: Background | None = None
_delegate: Delegate | None = None
_process = 0
_child = 0  # The process that multiprocessing has started and whose end we are told of.
_ended = 0  # The process whose end has been seen to.
_said: str | None = None
# A producer that was copied into a forked child must neither be used nor destroyed there.
_abandoned: list[Background] = []


def watch() -> None:
    """Be called at exit and with every new spool. Called by the first run of a process."""
    global _watching
    if not _watching:
        _watching = True
        atexit.register(_at_exit)
        recorder.WRITER_LISTENERS.append(_writer_made)


def _writer_made(writer: Writer) -> None:
    """Ship all the time if a broker is configured: by a process of its own, or by a thread of this one."""
    _watch_child()
    settings = writer.settings
    if settings.bootstrap is None or not settings.online:
        return
    if settings.shipper == "process" and writer.directory is not None and _delegated(writer):
        writer.on_memory = _ship_here  # Another process can only read what lies in files.
    else:
        _ship_here(writer)


def _watch_child() -> None:
    """Learn of the end of a child of multiprocessing, which leaves by `os._exit`: no atexit there."""
    global _child
    util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
    if util is None or process is None or process.parent_process() is None or _child == os.getpid():
        return
    _child = os.getpid()
    util.Finalize(None, _child_ends, exitpriority=0)


def _child_ends() -> None:
    """What lies in files is safe, and threads may still add to it; memory goes with the process."""
    if recorder.in_memory():
        _at_exit()
    else:
        _say(False, None)


def _delegated(writer: Writer) -> bool:
    """Name a spool to the shipper process of this script, which its forked children share."""
    from headstream.capture.delegate import Delegate  # A script that only spools never ships.

    global _delegate
    assert writer.directory is not None
    try:
        for _ in range(2):
            if _delegate is None:
                _delegate = Delegate(writer.settings)
            try:
                _delegate.tell(writer.directory)
                return True
            except BrokenPipeError:  # Somebody has killed it.
                _delegate = None
    except OSError as error:
        errors.WARNINGS.add("shipper-in-thread", message=str(error))
    return False


def _ship_here(writer: Writer) -> None:
    """Ship from this process; a forked child gets a shipper of its own."""
    global _background, _process
    if _process != os.getpid():
        if _background is not None:
            _abandoned.append(_background)
        # Here and not in the thread: a child that is forked in the middle of an import would wait for
        # that module for ever. Background sees to the schemas likewise.
        import headstream.capture.transports.kafka  # noqa: F401
        from headstream.capture.background import Background  # A script that only spools never ships.

        _background = Background(writer.settings, _kafka)
        _process = os.getpid()
    assert _background is not None
    _background.watch(writer)


def _kafka(settings: Settings) -> Transport:
    from headstream.capture.transports.kafka import KafkaTransport  # Only here is librdkafka loaded.

    return KafkaTransport.from_settings(settings)


def _at_exit() -> None:
    global _ended
    if _ended == os.getpid():
        return
    _ended = os.getpid()
    try:
        begun = time.monotonic()
        _await_files()
        writers = recorder.finish_all()
        try:
            left = _left_over(time.monotonic() - begun)
        except KeyboardInterrupt:  # Somebody does not want to wait: what is left stays in the spool.
            left = True
        for writer in writers:
            if writer.in_memory():
                rescue(writer)
        shippers = (each.spool for each in (_delegate, _background) if each is not None)
        _say(left, next(filter(None, shippers), None))
    except (Exception, KeyboardInterrupt) as error:
        errors.swallow(error, "exit")
    _end_as_interrupted()


def _await_files() -> None:
    """Give what is found out about files its part of the time at exit: all if nothing is to be shipped."""
    alone = (_delegate is None or _delegate.process != os.getpid()) and _process != os.getpid()
    try:
        FILES.drain(FILES.seconds if alone else FILES.seconds / 2)
    except KeyboardInterrupt:  # Somebody does not want to wait.
        FILES.drain(0)


def _left_over(spent: float) -> bool:
    """Ship within the time that there is, less what is spent; tell whether anything is not acknowledged."""
    left = False
    if _delegate is not None and _delegate.process == os.getpid():
        left = _delegate.drain(spent) != 0
    if _background is not None and _process == os.getpid():
        left = _background.drain(spent) != 0 or left
    return left


def _end_as_interrupted() -> None:
    """A script that Ctrl-C has ended dies of SIGINT; CPython forgets that when anything runs a text.

    As `dataclass` and `namedtuple` do in whatever is imported late: its exit code would be 1. Said
    again the way it was said first (run_eval_code_obj in Python/pythonrun.c).
    """
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _say(left: bool, where: Path | None) -> None:
    global _said
    line = errors.report()
    if left and where is not None:  # Without a spool the losses say it.
        kept = f"not all provenance has reached the broker; it is kept in {where} for `headstream ship`"
        line = f"{line}; {kept}" if line else f"headstream: {kept}"
    if line is not None and line != _said:
        print(line, file=sys.stderr)
        _said = line


def rescue(writer: Writer) -> None:
    """At the end, give what is still in memory a last chance to reach the disk; count what does not."""
    root = writer.settings.spool
    left = writer.in_memory()
    if root is not None:
        folder = root / f".rescued-{os.getpid()}-{left[0].number}"
        try:
            folder.mkdir(parents=True)
            if room_beside(root, writer.settings.free_bytes) < sum(segment.size for segment in left):
                raise OSError(errno.ENOSPC, f"the disk of {root} has no room for it")
            for segment in left:
                (folder / f"{segment.number:06d}.seg").write_bytes(segment.data[:])
            leave_behind(folder, writer.header.host, writer.header.pid)
            folder.rename(_free(root / f"{writer.header.directory}-m"))
            return
        except OSError as error:
            errors.WARNINGS.add("rescue", message=str(error))
            import shutil  # Imported late: an import of capture stays light.

            shutil.rmtree(folder, ignore_errors=True)
    from headstream.capture.logs import MemoryLog
    from headstream.capture.reading import Reader
    from headstream.schemas.events import Bag, event_count

    lost = 0
    for item in Reader(MemoryLog(writer)).poll():
        if isinstance(item.content, Bag):
            lost += sum(map(event_count, item.content.events))
    LOSSES.add("memory-not-shipped", lost)


def _free(path: Path) -> Path:
    number = 0
    while path.exists():
        number += 1
        path = path.with_name(f"{path.name}{number}")
    return path
