"""Lines of the log, dates and figures."""

from __future__ import annotations

import json

from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.http.dates import Dates
from balancer.http.figures import Figures
from balancer.http.head import RequestReader
from balancer.http.log import BATCH, formatter, lines, quoted, timers
from balancer.http.message import RequestHead
from tests.http.world import FakeLog


def head_of(data: bytes) -> RequestHead:
    """A head, read."""
    head = RequestReader().read(data, False)
    assert head is not None
    return head


PLAIN = head_of(b"GET /p?q HTTP/1.1\r\nHost: x\r\nReferer: r\r\nUser-Agent: u\r\n\r\n")


@define
class Entry:
    """A finished request."""

    source: str = "192.0.2.1"
    peer_port: int = 4000
    head: RequestHead | None = PLAIN
    status: int = 200
    sent: int = 150
    sent_head: int = 50
    letters: bytes = b"--"
    began: float = 100.0
    read_at: float = 100.001
    chosen_at: float = 100.003
    sent_at: float = 100.007
    answered_at: float = 100.015
    retries: int = 1
    pool_name: str = "app"
    server_name: str = "a"
    counts: tuple[int, int, int] = (5, 4, 3)


NOTHING = Entry(
    head=None, status=408, sent=99, sent_head=60, letters=b"cR", read_at=0.0, chosen_at=0.0,
    sent_at=0.0, answered_at=0.0, retries=0, pool_name="-", server_name="-", counts=(1, 0, 0),
)


class LogTests(SynchronousTestCase):
    """The three formats."""

    def line(self, name: str, entry: Entry) -> bytes:
        """The line at 100.031; the wall clock shows 971186100 at 0."""
        dates = Dates(lambda: 971186100 + 100.031)
        return formatter(name, "web", dates)(entry, 100.031)

    def test_combined(self) -> None:
        """Apache's combined format, with the size of the body."""
        self.assertEqual(
            self.line("combined", Entry()),
            b'192.0.2.1 - - [10/Oct/2000:13:56:40 +0000] "GET /p?q HTTP/1.1" 200 100 "r" "u"\n',
        )

    def test_haproxy(self) -> None:
        """HAProxy's httplog, with timers, letters and counts."""
        self.assertEqual(
            self.line("haproxy", Entry()),
            b"192.0.2.1:4000 [10/Oct/2000:13:56:40.000] web app/a 1/2/4/8/31 200 150 - - ---- "
            b'5/5/4/3/1 0/0 "GET /p?q HTTP/1.1"\n',
        )

    def test_json(self) -> None:
        """One JSON object a line."""
        line = self.line("json", Entry())
        self.assertTrue(line.endswith(b"}\n"))
        entry = json.loads(line)
        self.assertEqual(entry["time"], "2000-10-10T13:56:40.000Z")
        self.assertEqual((entry["method"], entry["target"], entry["status"]), ("GET", "/p?q", 200))
        self.assertEqual((entry["pool"], entry["server"], entry["retries"]), ("app", "a", 1))
        self.assertEqual((entry["request_ms"], entry["total_ms"]), (1, 31))
        self.assertAlmostEqual(entry["seconds"], 0.031)

    def test_without_a_head(self) -> None:
        """What never became a request is logged with what is known."""
        self.assertIn(b'"-" 408 39 "-" "-"\n', self.line("combined", NOTHING))
        line = self.line("haproxy", NOTHING)
        self.assertIn(b" web web/<NOSRV> -1/-1/-1/-1/31 408 99 - - cR-- ", line)
        self.assertTrue(line.endswith(b' "<BADREQ>"\n'))
        self.assertIsNone(json.loads(self.line("json", NOTHING))["method"])

    def test_quoting(self) -> None:
        """Nothing that a client sends ends its quotes or its line."""
        self.assertEqual(quoted(b'a"b\\c\xff\t'), b"a\\x22b\\x5Cc\\xFF\\x09")
        head = head_of(b'GET /" HTTP/1.1\r\nHost: x\r\nUser-Agent: "\xe4\\\r\n\r\n')
        for name in ("combined", "haproxy"):
            self.assertEqual(self.line(name, Entry(head=head)).count(b"\n"), 1)
        self.assertIn(b'"\\x22\\xE4\\x5C"\n', self.line("combined", Entry(head=head)))
        self.assertEqual(json.loads(self.line("json", Entry(head=head)))["user_agent"], '"ä\\')

    @settings(deadline=None, database=None, max_examples=25)
    @given(st.binary(max_size=40))
    def test_json_is_json(self, agent: bytes) -> None:
        """Whatever bytes a field may have, the line is JSON."""
        value = bytes(byte for byte in agent if byte >= 32 and byte != 127).strip(b" ")
        head = head_of(b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: " + value + b"\r\n\r\n")
        entry = json.loads(self.line("json", Entry(head=head)))
        self.assertEqual(entry["user_agent"], value.decode("latin-1"))

    def test_timers(self) -> None:
        """A request that was sent but not answered has no Tr."""
        self.assertEqual(timers(Entry(answered_at=0.0), 100.031), (1, 2, 4, -1, 31))


class DateTests(SynchronousTestCase):
    """The time of day."""

    def test_once_a_second(self) -> None:
        """The wall clock is asked once a second, and the second turns when it does."""
        asked = []

        def wall() -> float:
            asked.append(now)
            return 784111777 + now

        dates = Dates(wall)
        now = 0.4
        self.assertEqual(dates.http(now), b"Sun, 06 Nov 1994 08:49:37 GMT")
        now = 0.9
        self.assertEqual(dates.http(now), b"Sun, 06 Nov 1994 08:49:37 GMT")
        now = 1.0
        self.assertEqual(dates.http(now), b"Sun, 06 Nov 1994 08:49:38 GMT")
        self.assertEqual(dates.clf(now), b"06/Nov/1994:08:49:38 +0000")
        self.assertEqual(len(asked), 2)

    def test_exact(self) -> None:
        """A moment in the past has its own second and thousandths."""
        dates = Dates(lambda: 784111777.0)
        self.assertEqual(dates.haproxy(8.5, 10.0), b"06/Nov/1994:08:49:35.500")
        self.assertEqual(dates.iso(8.25, 10.0), b"1994-11-06T08:49:35.250Z")


class FigureTests(SynchronousTestCase):
    """What is counted."""

    def test_histogram(self) -> None:
        """Buckets are cumulative, from 64 us to 67 s, and the last has all."""
        figures = Figures()
        for microseconds in (0, 1, 63, 64, 10**6, 10**11):
            figures.histogram[microseconds.bit_length()] += 1
        seconds = dict(figures.seconds())
        self.assertEqual((seconds["0.000064"], seconds["0.000128"]), (3, 4))
        self.assertEqual((seconds["1.048576"], seconds["67.108864"], seconds["+Inf"]), (5, 5, 6))
        values = list(seconds.values())
        self.assertEqual(values, sorted(values))


class BatchTests(SynchronousTestCase):
    """Lines of the combined form are made in batches."""

    def setUp(self) -> None:
        self.log = FakeLog()
        self.written = self.log._lines
        self.now = 100.031
        self.dates = Dates(lambda: 971186100 + self.now)
        self.lines = lines("combined", "web", self.dates, self.log)

    def test_bound(self) -> None:
        """A batch is written when it is full; the lines say what was noted, in order."""
        for index in range(BATCH):
            self.assertEqual(self.written, [])
            self.lines.add(Entry(status=index), 100.031)
        self.assertEqual(len(self.written), BATCH)
        plain = formatter("combined", "web", self.dates)
        self.assertEqual(self.written[7], plain(Entry(status=7), 100.031))

    def test_date(self) -> None:
        """A line bears the time of its request's end, however late it is made."""
        self.lines.add(Entry(), 100.031)
        self.now = 109.031
        self.lines.add(Entry(), 109.031)
        self.assertEqual([line[27:35] for line in self.log.lines], [b"13:56:40", b"13:56:49"])

    def test_close(self) -> None:
        """Closing writes what was held back; later lines are written at once."""
        self.lines.add(Entry(), 100.0)
        self.lines.close()
        self.assertEqual((len(self.written), self.log.sources), (1, []))
        self.lines.add(Entry(), 100.0)
        self.assertEqual(len(self.written), 2)

    def test_others(self) -> None:
        """The other forms are written line by line."""
        json_lines = lines("json", "web", self.dates, self.log)
        json_lines.add(Entry(), 100.0)
        json_lines.close()
        self.assertEqual(len(self.written), 1)
