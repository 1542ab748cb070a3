"""What files are like (size, time of change, checksum), found out aside and never in the script's thread.

A `stat` on a parallel file system may take for ever, and a checksum takes as long as the file is
large. So the script only says which file it means; one daemon thread of the process looks at it
afterwards and says the same reference once more, with what it has found. Facts are only added and
identifiers are pure functions, so the repeat names the same things.

What is told is what the file was when it was looked at, shortly after it was said. A file that
changes while it is read gets no checksum. At the end of the script the thread has a deadline; what
it has not told by then is counted (`file-facts-not-told`).
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol

from headstream.capture.errors import WARNINGS, swallow
from headstream.schemas.values import AttributeValue, DictValue, ListValue, Reference, Value, references

ALGORITHMS: Final = ("sha256", "blake3")
OFF: Final = "off"  # As a checksum: none, whatever the settings say.

_CHUNK: Final = 1 << 20
_MOST_JOBS: Final = 10_000
_MOST_KNOWN: Final = 4_096
_LARGE: Final = 64 << 20  # Such a file is told without its checksum first, and read when nothing else waits.
# A file changed so lately may change again within one tick of its clock: its checksum is not kept.
_SETTLED_NS: Final = 2_000_000_000
_STUCK_SECONDS: Final = 0.1
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})


class Wanted(NamedTuple):
    """What is to be found out about a local file: its facts, its checksum (None: no), or both."""

    path: str
    facts: bool
    algorithm: str | None


class Owner(Protocol):
    """The run to which files were said: it can write them when the script no longer may."""

    def tell_files(self, step: str, direction: str, values: tuple[AttributeValue, ...]) -> None:
        """Say values again, with what is known of their files now."""
        ...

    def files_told(self) -> None:
        """Nothing more will be told; called once, and only after `ends` has answered True."""
        ...


class Job(NamedTuple):
    """Values of a step that hold references to files, and what is wanted of these."""

    owner: Owner
    step: str
    direction: str
    values: tuple[AttributeValue, ...]
    files: Mapping[Reference, Wanted]


class Identity(NamedTuple):
    """What stays the same as long as a file does."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class _Stopped(Exception):
    """The script has ended, and its time is over."""


class Inspector:
    """Looks at the files of this process, in one thread that starts with the first of them."""

    def __init__(self) -> None:
        # Reentrant: a signal handler of the script may capture while the script does.
        self._changed = threading.Condition(threading.RLock())
        self._jobs: deque[Job] = deque()
        self._large: deque[Job] = deque()
        self._open: dict[Owner, int] = {}  # How many jobs are not done.
        self._ending: set[Owner] = set()
        self._told: weakref.WeakKeyDictionary[Owner, dict[Reference, Reference]]
        self._told = weakref.WeakKeyDictionary()
        self._known: OrderedDict[tuple[str, str], tuple[Identity, str]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._telling = False
        self._reading = False  # A large file: whatever comes meanwhile is looked at between two pieces.
        self._since = 0.0  # When the system call that is under way began; 0 between two.
        self.seconds = 0.0  # How long the end of the script may wait for this.

    def look(self, job: Job, seconds: float) -> None:
        """Queue files and return at once; what does not fit is counted."""
        with self._changed:
            if self._stopped or len(self._jobs) + len(self._large) >= _MOST_JOBS or not self._started():
                WARNINGS.add(
                    "file-facts-not-told", len(job.files), "the queue is full, or the script is about to end"
                )
                return
            self.seconds = max(self.seconds, seconds)
            self._open[job.owner] = self._open.get(job.owner, 0) + 1
            self._jobs.append(job)
            self._changed.notify_all()

    def wait(self, owner: Owner, seconds: float) -> None:
        """Give the files of a run so long to be told; no time at all if a file system does not answer."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while owner in self._open and not self._is_stuck():
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(min(left, _STUCK_SECONDS))

    def ends(self, owner: Owner) -> bool:
        """Tell whether files of a run that ends still wait: then `files_told` will be called."""
        with self._changed:
            waits = owner in self._open
            if waits:
                self._ending.add(owner)
            return waits

    def drain(self, seconds: float) -> None:
        """At exit: wait so long at most, count what is left, and tell nothing any more."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._open and time.monotonic() < deadline:
                self._changed.wait(deadline - time.monotonic())
            self._stopped = True
            left = sum(self._open.values())
            WARNINGS.add("file-facts-not-told", left, "the script ended before they were looked at")
            while self._telling:  # A record that is being written is soon whole.
                self._changed.wait(1.0)
            ending, self._ending = self._ending, set()
            self._open.clear()
            self._jobs.clear()
            self._large.clear()
        for owner in ending:
            owner.files_told()

    def after_fork(self) -> None:
        """Begin anew in a forked child: the parent looks at what was said to it."""
        self.__init__()  # type: ignore[misc]

    def _started(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="headstream-files", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # No more threads, or the interpreter is about to end.
                return False
            self._thread = thread
        return True

    def _is_stuck(self) -> bool:
        since = self._since
        return since > 0 and time.monotonic() - since > _STUCK_SECONDS

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._jobs or self._large):
                    self._changed.wait()
                large = not self._jobs
                job = self._large.popleft() if large else self._jobs.popleft()
            self._do(job, large)

    def _do(self, job: Job, large: bool) -> None:
        try:
            if not large and self._looked(job):
                self._large.append(job)
                return
            if large:
                self._reading = True
                self._tell(job, {r: self._found(r, wanted, None) for r, wanted in job.files.items()})
        except _Stopped:
            return
        except Exception as error:
            swallow(error, "files")
        finally:
            self._reading = self._reading and not large
        self._done(job.owner)

    def _looked(self, job: Job) -> bool:
        """Tell what takes no long time; True if the checksum of a large file is still to come."""
        later = False
        found = {}
        for reference, wanted in job.files.items():
            state = self._stat(wanted)
            if state is not None and wanted.algorithm is not None and state.st_size > _LARGE:
                later = True
                wanted = wanted._replace(algorithm=None)
            found[reference] = self._found(reference, wanted, state)
        self._tell(job, found)
        return later

    def _found(self, reference: Reference, wanted: Wanted, state: os.stat_result | None) -> Reference:
        """The reference with what could be found out about its file."""
        checksum = None
        if wanted.algorithm is not None:
            state, checksum = self._checksum(wanted.path, wanted.algorithm)
        if checksum is not None:
            reference = replace(reference, checksum=checksum)
        if state is None or not wanted.facts:
            return reference
        size = state.st_size if stat.S_ISREG(state.st_mode) else None
        return replace(reference, size_bytes=size, modified=state.st_mtime_ns // 1000)

    def _tell(self, job: Job, found: Mapping[Reference, Reference]) -> None:
        told = self._told.setdefault(job.owner, {})
        news = {before: now for before, now in found.items() if now != before and told.get(before) != now}
        if not news:
            return
        if len(told) + len(news) > _MOST_KNOWN:
            told.clear()
        told.update(news)
        values = tuple(
            AttributeValue(given.name, _with(given.value, news))
            for given in job.values
            if any(each in news for each in references(given.value))
        )
        with self._changed:
            if self._stopped:
                raise _Stopped
            self._telling = True
        try:
            job.owner.tell_files(job.step, job.direction, values)
        finally:
            with self._changed:
                self._telling = False
                self._changed.notify_all()

    def _done(self, owner: Owner) -> None:
        with self._changed:
            if owner not in self._open:
                return  # The script has ended.
            self._open[owner] -= 1
            last = not self._open[owner]
            if last:
                del self._open[owner]
            ended = last and owner in self._ending
            if ended:
                self._ending.remove(owner)
            self._changed.notify_all()
        if ended:
            owner.files_told()

    def _call(self, call: Callable[[], Any]) -> Any:
        """A system call that may never return, with the time noted since when it is under way."""
        if self._stopped:
            raise _Stopped
        self._since = time.monotonic()
        try:
            return call()
        finally:
            self._since = 0.0

    def _stat(self, wanted: Wanted) -> os.stat_result | None:
        try:
            found: os.stat_result = self._call(lambda: os.stat(wanted.path))
            return found
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path.
            if getattr(error, "errno", None) not in _ABSENT:
                WARNINGS.add("file-not-read", message=f"{wanted.path}: {error}")
            return None

    def _checksum(self, path: str, algorithm: str) -> tuple[os.stat_result | None, str | None]:
        """What a file is, and its checksum: None, and counted, if it cannot be read or changes meanwhile."""
        state = None
        try:
            # A pipe would wait for its other end.
            handle = self._call(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
            try:
                state = os.fstat(handle)
                if not stat.S_ISREG(state.st_mode):
                    raise OSError(errno.EINVAL, "no regular file")
                identity = Identity.of(state)
                known = self._known.get((path, algorithm))
                if known is not None and known[0] == identity:
                    return state, known[1]
                settled = time.time_ns() - max(identity.modified_ns, identity.changed_ns) > _SETTLED_NS
                checksum = f"{algorithm}:{self._digest(handle, algorithm)}"
                if Identity.of(os.fstat(handle)) != identity:
                    raise OSError(errno.EAGAIN, "it changed while it was read")
                if settled:
                    self._keep(path, algorithm, identity, checksum)
                return state, checksum
            finally:
                os.close(handle)
        except (OSError, ValueError, ImportError) as error:
            reason = getattr(error, "strerror", None) or error
            WARNINGS.add("checksum-not-computed", message=f"{path}: {reason}")
            return state, None

    def _digest(self, handle: int, algorithm: str) -> str:
        digest = _hasher(algorithm)
        buffer = memoryview(bytearray(_CHUNK))
        while length := self._call(lambda: os.readv(handle, [buffer])):
            digest.update(buffer[:length])  # Without the interpreter's lock.
            self._between()
        found: str = digest.hexdigest()
        return found

    def _between(self) -> None:
        if self._reading:
            self._reading = False
            while self._jobs:
                self._do(self._jobs.popleft(), large=False)
            self._reading = True

    def _keep(self, path: str, algorithm: str, identity: Identity, checksum: str) -> None:
        self._known[path, algorithm] = identity, checksum
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)


FILES: Final = Inspector()


def _hasher(algorithm: str) -> Any:
    if algorithm == "sha256":
        import hashlib  # Imported late, like all that only some scripts need.

        return hashlib.sha256()
    if algorithm != "blake3":
        raise ValueError(f"{algorithm!r} is no algorithm for checksums: sha256 or blake3")
    try:
        from blake3 import blake3
    except ImportError:
        raise ImportError("blake3 is not installed: pip install 'headstream[blake3]'") from None
    return blake3()


def _with(value: Value, news: Mapping[Reference, Reference]) -> Value:
    match value:
        case Reference():
            return news.get(value, value)
        case ListValue(items):
            return ListValue(tuple(_with(item, news) for item in items))
        case DictValue(items):
            return DictValue(tuple((key, _with(item, news)) for key, item in items))
    return value
