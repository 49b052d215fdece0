"""
One line for each request, in the three forms of `log-format`.

Knows what a finished exchange can tell (`Entry`). Pure: it makes bytes, and gives them to a `Log`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from json import dumps
from typing import Final, Protocol

from balancer.http.dates import Dates
from balancer.http.message import RequestHead


class Entry(Protocol):
    """
    A request that is over. Times are of the monotonic clock, 0.0 where it did not get so far:
    `began` the first byte, `read_at` the whole head, `chosen_at` a server (after any queue),
    `sent_at` the request on its way, `answered_at` the answer's head. `sent` counts bytes to the
    client, `sent_head` those of the head among them; `letters` are HAProxy's two.
    """

    source: str
    peer_port: int
    head: RequestHead | None
    status: int
    sent: int
    sent_head: int
    letters: bytes
    began: float
    read_at: float
    chosen_at: float
    sent_at: float
    answered_at: float

    @property
    def retries(self) -> int:
        """Attempts that failed before the last one."""

    @property
    def pool_name(self) -> str:
        """The pool's name, or `-`."""

    @property
    def server_name(self) -> str:
        """The last server's name, or `-`."""

    @property
    def counts(self) -> tuple[int, int, int]:
        """Connections of the balancer, requests in the pool, on the server."""


class Log(Protocol):
    """Where lines go: `wire.logfile.LogFile`."""

    def write(self, line: bytes) -> None:
        """Keep a line for the next flush."""

    def write_all(self, lines: Sequence[bytes]) -> None:
        """The same for many, in less time."""

    def attach(self, source: Callable[[], None]) -> None:
        """Call `source` at the beginning of each flush, so that it writes what it still has."""

    def detach(self, source: Callable[[], None]) -> None:
        """Call it no more."""


Formatter = Callable[[Entry, float], bytes]

BATCH: Final = 256
"""Requests that are noted before their lines are made: done in a row that costs half of what it
does one by one, between system calls that push our code out of the CPU's caches. A note is half a
KiB, and waits for the log's next flush at most."""

_SAFE: Final = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
_UNSAFE: Final = re.compile(rb"[^%b]" % re.escape(_SAFE))


def quoted(text: bytes) -> bytes:
    """`text` for between quotes: whatever could end them, or the line, is written as `\\xHH`."""
    # Half the time of a search by the pattern.
    if not text.translate(None, _SAFE):
        return text
    return _UNSAFE.sub(lambda found: b"\\x%02X" % found[0][0], text)


# What is safe is matched by one group and needs no second look; anything else by the other.
_SAFE_OR_NOT: Final = rb"(?:([%b]*+)\r|([^\r]*+))" % re.escape(_SAFE)
_LINE: Final = re.compile(_SAFE_OR_NOT).match
_REFERER: Final = re.compile(rb"\r\n(?i:referer):[ \t]*+" + _SAFE_OR_NOT).search
_AGENT: Final = re.compile(rb"\r\n(?i:user-agent):[ \t]*+" + _SAFE_OR_NOT).search


def _quoted(found: re.Match[bytes] | None) -> bytes:
    if found is None:
        return b"-"
    return found[1] or quoted((found[2] or b"").rstrip(b" \t")) or b"-"


def _line(head: RequestHead) -> bytes:
    """The request line; empty lines before it are legal (RFC 9112 section 2.2)."""
    found = _LINE(head.raw)
    return (found and found[1]) or quoted(head.line)


def formatter(name: str, balancer: str, dates: Dates) -> Formatter:
    """The function that makes lines of the form `name` for the balancer of that name."""
    if name == "haproxy":
        return _haproxy(balancer.encode(), dates)
    if name == "json":
        return _json(balancer, dates)
    return _combined(dates)


Note = tuple[str, bytes, bytes, int, int, bytes]
"""What a line of the combined form is made of, in its order."""


def _note(entry: Entry, date: bytes) -> Note:
    """Apache's and nginx's combined form: the size is the body's, without the head."""
    head = entry.head
    size = entry.sent - entry.sent_head
    if head is None:
        return entry.source, date, b"-", entry.status, size, b'"-" "-"\n'
    raw = head.raw
    quotes = head.quotes
    if quotes is None:
        quotes = head.quotes = b'"%b" "%b"\n' % (_quoted(_REFERER(raw)), _quoted(_AGENT(raw)))
    said = head.said
    if said is None:
        # Empty lines before the request line are legal (RFC 9112 section 2.2), and rare.
        asked = raw[: raw.find(b"\r")] or head.line
        said = quoted(asked)
        if said is asked:
            head.said = said  # what had to be quoted is too long to be kept
    return entry.source, date, said, entry.status, size, quotes


def _combined_line(note: Note) -> bytes:
    source, date, said, status, size, quotes = note
    return b'%b - - [%b] "%b" %d %d %b' % (source.encode(), date, said, status, size, quotes)


def _combined(dates: Dates) -> Formatter:
    def line(entry: Entry, now: float) -> bytes:
        return _combined_line(_note(entry, dates.clf(now)))

    return line


class Lines:
    """Writes a line for each request to `log`, until it is closed."""

    def __init__(self, line: Formatter, log: Log) -> None:
        self._line = line
        self._log = log

    def add(self, entry: Entry, now: float) -> None:
        """A request is over."""
        self._log.write(self._line(entry, now))

    def close(self) -> None:
        """Hold nothing back any more; what is added later goes out at once."""


class Batches(Lines):
    """
    The same for the combined form, made `BATCH` at a time or when the log is flushed.
    """

    def __init__(self, dates: Dates, log: Log) -> None:
        super().__init__(_combined(dates), log)
        self._dates = dates
        self._date, self._until = b"", float("-inf")
        self._most = BATCH
        self._notes: list[Note] = []
        log.attach(self.flush)

    def add(self, entry: Entry, now: float) -> None:
        """A request is over."""
        if now >= self._until:
            self._date = self._dates.clf(now)
            self._until = self._dates.until
        notes = self._notes
        notes.append(_note(entry, self._date))
        if len(notes) >= self._most:
            self.flush()

    def flush(self) -> None:
        """Make the lines."""
        notes, self._notes = self._notes, []
        self._log.write_all([_combined_line(note) for note in notes])

    def close(self) -> None:
        """Hold nothing back any more; what is added later goes out at once."""
        self.flush()
        self._most = 1
        self._log.detach(self.flush)


def lines(name: str, balancer: str, dates: Dates, log: Log) -> Lines:
    """What writes lines of the form `name` to `log`."""
    if name == "combined":
        return Batches(dates, log)
    return Lines(formatter(name, balancer, dates), log)


_WAITED: Final = frozenset((b"sQ", b"CQ", b"KQ"))
"""Letters of requests that ended in the queue. One that the queue had no room for did not wait."""


def timers(entry: Entry, now: float) -> tuple[int, int, int, int, int]:
    """HAProxy's TR, Tw, Tc, Tr and Ta in milliseconds; -1 where the request did not get so far."""
    began, read, chosen = entry.began, entry.read_at, entry.chosen_at
    if entry.letters in _WAITED:
        times = (read - began, now - read, now - began)
        in_head, in_queue, in_all = (round(seconds * 1000) for seconds in times)
        return in_head, in_queue, -1, -1, in_all
    sent, answered = entry.sent_at, entry.answered_at
    return (
        round((read - began) * 1000) if read else -1,
        round((chosen - read) * 1000) if chosen else -1,
        round((sent - chosen) * 1000) if sent else -1,
        round((answered - sent) * 1000) if sent and answered else -1,
        round((now - began) * 1000),
    )


def _haproxy(balancer: bytes, dates: Dates) -> Formatter:
    """HAProxy's `option httplog`, without the syslog header and without captures."""

    def line(entry: Entry, now: float) -> bytes:
        head = entry.head
        ours, in_pool, on_server = entry.counts
        return b'%b:%d [%b] %b %b/%b %d/%d/%d/%d/%d %d %d - - %b-- %d/%d/%d/%d/%d 0/0 "%b"\n' % (
            entry.source.encode(),
            entry.peer_port,
            dates.haproxy(entry.began, now),
            balancer,
            entry.pool_name.encode() if entry.pool_name != "-" else balancer,
            entry.server_name.encode() if entry.server_name != "-" else b"<NOSRV>",
            *timers(entry, now),
            entry.status or -1,
            entry.sent,
            entry.letters,
            ours,
            ours,
            in_pool,
            on_server,
            entry.retries,
            b"<BADREQ>" if head is None else _line(head),
        )

    return line


def _text(value: bytes | None) -> bytes:
    """A JSON string. Bytes beyond ASCII are read as Latin-1, so that none is lost."""
    if value is None:
        return b"null"
    if not value.translate(None, _SAFE):
        return b'"%b"' % value
    return dumps(value.decode("latin-1")).encode()


def _json(balancer: str, dates: Dates) -> Formatter:
    """One object a line; times in seconds."""
    name = dumps(balancer).encode()

    def line(entry: Entry, now: float) -> bytes:
        head = entry.head
        method = target = host = referer = agent = version = None
        if head is not None:
            method, target, host = head.method, head.target, head.host
            version = b"1.%d" % head.minor
            referer, agent = head.field(b"referer"), head.field(b"user-agent")
        waits = timers(entry, now)
        return _OBJECT % (
            dates.iso(entry.began, now),
            name,
            entry.source.encode(),
            entry.peer_port,
            _text(method),
            _text(host),
            _text(target),
            _text(version),
            entry.status,
            entry.sent,
            now - entry.began,
            entry.pool_name.encode(),
            entry.server_name.encode(),
            entry.retries,
            entry.letters,
            *waits,
            _text(referer),
            _text(agent),
        )

    return line


_OBJECT: Final = (
    b'{"time":"%b","balancer":%b,"client":"%b","port":%d,"method":%b,"host":%b,"target":%b,'
    b'"version":%b,"status":%d,"bytes":%d,"seconds":%.6f,"pool":"%b","server":"%b",'
    b'"retries":%d,"state":"%b","request_ms":%d,"queue_ms":%d,"connect_ms":%d,'
    b'"response_ms":%d,"total_ms":%d,"referer":%b,"user_agent":%b}\n'
)
