"""Any sound head goes through whole; any other one ends in a refusal, never in another fault."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.http.head import BadAnswer, Refused, RequestReader, ResponseReader
from tests.http.feeding import byte_by_byte, lines, outcome

TOKEN = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
VALUE = "".join(map(chr, (9, *range(32, 127), *range(128, 256))))
ODDMENTS = (b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b",", b"0", b"_", b"\xff", b"#")
FORWARDED = {b"x-forwarded-for", b"x-forwarded-proto"}
FRAMING = {b"content-length", b"transfer-encoding"}
HOP = {b"connection", b"keep-alive", b"te", b"upgrade"}

names = st.text(TOKEN, min_size=1, max_size=8).map(str.encode)
values = st.text(VALUE, max_size=12).map(lambda text: text.encode("latin-1"))
plain = st.tuples(names.map(lambda name: b"X-" + name), values).map(b": ".join)
hop = st.sampled_from(
    [b"Connection: keep-alive", b"Connection: X-a , close", b"Keep-Alive: 1", b"TE: trailers",
     b"Upgrade: h2c", b"X-Forwarded-For: ::1 ", b"X-Forwarded-Proto: https", b"X-A: b",
     b"Transfer-Encoding: chunked", b"Connection: close", b"connection:Upgrade",
     b"Content-Length: 7", b"Host: a.example"]
)  # fmt: skip
targets = st.text("/?&=%abc", max_size=12).map(lambda text: b"/" + text.encode())
heads = st.builds(
    lambda method, target, fields: lines(
        b"Host: a.example", *fields, first=method + b" " + target + b" HTTP/1.1"
    ),
    names,
    targets,
    st.lists(plain | hop, max_size=6),
)
answers = st.builds(
    lambda status, reason, fields: lines(*fields, first=b"HTTP/1.1 %d%b" % (status, reason)),
    st.integers(100, 599),
    st.sampled_from((b" OK", b" OK", b" ", b"")),
    st.lists(plain | hop, max_size=6),
)


def strictly(head: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """A reader of its own: the first line, and each field's lower-case name and bare value."""
    first, *rest = head.split(b"\r\n")
    assert rest.pop() == b""
    fields = [field.partition(b":") for field in rest]
    return first, [(name.lower(), value.strip(b" \t")) for name, _, value in fields]


class RequestProperties(SynchronousTestCase):
    """Request heads."""

    @settings(max_examples=15, deadline=None, database=None)
    @given(heads)
    def test_round_trip(self, head: bytes) -> None:
        """A second reader finds the same fields in the head sent on, less those of the connection;
        and byte by byte the head reads the same."""
        first, fields = strictly(head[:-2])
        whole = outcome(Refused, RequestReader().read, head, False)
        reader = RequestReader()
        again = outcome(Refused, byte_by_byte, lambda data: reader.read(data, False), head)
        sent = [name for name, _ in fields]
        if isinstance(whole, Refused):
            framed = sent.count(b"content-length") + sent.count(b"transfer-encoding")
            self.assertTrue(framed > 1 or sent.count(b"host") > 1, whole)
            self.assertEqual(again.reason, whole.reason)
            return
        self.assertEqual(again.out, whole.out)
        named = {
            option.strip(b" \t").lower()
            for name, value in fields
            if name == b"connection"
            for option in value.split(b",")
        }
        # The long way writes the framing fields last; elsewhere the order is kept.
        left = [(n, v) for n, v in fields if n not in HOP | named | FORWARDED]
        first_out, fields_out = strictly(whole.out)
        self.assertEqual((first_out, sorted(fields_out)), (first, sorted(left)))
        others = [field for field in fields_out if field[0] not in FRAMING]
        self.assertEqual(others, [field for field in left if field[0] not in FRAMING])

    @settings(max_examples=25, deadline=None, database=None)
    @given(heads, st.data())
    def test_mutations(self, head: bytes, data: st.DataObject) -> None:
        """With bytes put in or taken out anywhere, a head is read or refused, nothing else; what is
        read and sent on reads the same a second time."""
        at = data.draw(st.integers(0, len(head) - 1))
        put = data.draw(st.sampled_from(ODDMENTS) | st.binary(max_size=3))
        changed = head[:at] + put + head[at + data.draw(st.integers(0, 2)) :]
        whole = outcome(Refused, RequestReader().read, changed, False)
        reader = RequestReader()
        again = outcome(Refused, byte_by_byte, lambda data: reader.read(data, False), changed)
        self.assertEqual(type(again), type(whole))
        if whole is None or isinstance(whole, Refused):
            return
        self.assertEqual((again.out, again.length), (whole.out, whole.length))
        second = RequestReader().read(whole.out + b"\r\n", False)
        assert second is not None
        self.assertEqual((second.out, second.length), (whole.out, whole.length))
        self.assertEqual((second.method, second.target), (whole.method, whole.target))
        for stray in (b"\0", b"\r\n ", b"\r\n\t", b"\r\r", b"\n\n"):
            self.assertNotIn(stray, whole.out)


class WaysProperties(SynchronousTestCase):
    """The short way through a head and the long one."""

    def same(self, short: Any, long: Any) -> None:
        """Both refuse for one reason, or give the same facts and the same fields, in any order."""
        if isinstance(short, Exception):
            self.assertEqual(str(short), str(long))
            return
        for name in {*short.__slots__} - {"out", "mark"}:
            self.assertEqual(getattr(short, name), getattr(long, name), name)
        first, fields = strictly(short.out)
        again, others = strictly(long.out)
        self.assertEqual((first, sorted(fields)), (again, sorted(others)))

    @settings(max_examples=15, deadline=None, database=None)
    @given(heads, st.booleans())
    def test_requests(self, head: bytes, trusted: bool) -> None:
        """A request reads the same either way."""
        reader = RequestReader(remove=frozenset((b"x-a",)))
        short = outcome(Refused, reader.read, head, trusted)
        self.same(short, outcome(Refused, reader._long, head, trusted))

    @settings(max_examples=15, deadline=None, database=None)
    @given(answers, st.sampled_from((b"GET", b"HEAD")))
    def test_answers(self, head: bytes, method: bytes) -> None:
        """An answer reads the same either way."""
        reader = ResponseReader(remove=frozenset((b"x-a",)))
        short = outcome(BadAnswer, reader.read, head, method)
        self.same(short, outcome(BadAnswer, reader._long, head, method))


class AnswerProperties(SynchronousTestCase):
    """Heads of answers."""

    @settings(max_examples=15, deadline=None, database=None)
    @given(answers, st.sampled_from(ODDMENTS), st.floats(0, 1), st.sampled_from((b"GET", b"HEAD")))
    def test_mutations(self, head: bytes, put: bytes, where: float, method: bytes) -> None:
        """With bytes put in anywhere, an answer is read or bad, nothing else, and what is sent on
        is sound by itself."""
        at = int(where * len(head))
        for changed in (head, head[:at] + put + head[at:]):
            whole = outcome(BadAnswer, ResponseReader().read, changed, method)
            reader = ResponseReader()
            read = lambda data, reader=reader: reader.read(data, method)  # noqa: E731 - a closure
            again = outcome(BadAnswer, byte_by_byte, read, changed)
            self.assertEqual(type(again), type(whole))
            if whole is not None and not isinstance(whole, BadAnswer):
                second = ResponseReader().read(whole.out + b"\r\n", method)
                assert second is not None
                self.assertEqual((second.out, second.status), (whole.out, whole.status))
                self.assertEqual((again.out, again.length), (whole.out, whole.length))
