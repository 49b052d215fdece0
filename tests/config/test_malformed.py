"""Files with faults: each gives problems that can be read, and none an exception."""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.config import ini
from balancer.config.schema import SiteFile
from tests.config.samples import site_file

SOUND = """\
[site]
name = here

[pool p]
servers =
  a weight=2
  # the second
  b backup
rise = 3

[web w]
listen = 127.0.0.1:80
  [::1]:80
pool = p
idle-timeout = 5m
limit = 7
mode = demo
error-page 503 = sorry.html
"""

SHAPES = (
    "x", "=", "= 1", "x = 1", "[", "]", "[]", "[ ]", "[]]", "[[]]", "[web", "web]", "[web w",
    "web w]", "[web w]]", "[[web w]", "[web w] x", "[web w] # x", "[web w] = 1", "[web]",
    "[web a b]", "[web a/b]", "[web -a]", "[web é]", "[web 'a']", "[WEB w]", "[Web w]", "[wbe w]",
    "[webb w]", "[web.w]", "[web:w]", "[DEFAULT]", "[site x]", "[sites]", "[pool]", "[pool p]",
    "[web w]", "[dns example.test]", "[dns]", "[odd o]", "[odd]", "[policy x]", "{", "{}",
    "web w {", "<web w>", "listen 80;", "---", "%include x", "\0", "[web\0w]", "x\0", "\x01",
    "\x1b[31m", "\x7f", "\x85", "\u2028", "\u200b", "\u202e", " \ufeff", "\udcff", "[web \udcff]",
    "a\rb", "# a\r[b]", "\x0c[web w]", "x" * 20_000, "[" + "x" * 20_000 + "]",
    "[web " + "x" * 300 + "]", "[[[[[[[[", "]]]]", "[web w\n]", "[\nweb w]", ":", "x: 1", "x 1",
    "; x", "// x", "/* x */", "<?xml?>", "==", "= =", "[web w][web x]", "[web]w", "[=]", "[#]",
)
"""Lines that stand alone, one a file: each a fault where a section is expected."""

LINES = (
    "x = 1", "lisen = [::]:1", "Listen = [::]:1", "LISTEN = [::]:1", "listen: [::]:1",
    "listen [::]:1", "listen", "listen =", "listen = ", "pool", "pool =", "= p", "p",
    "pool = p\npool = p", "pool x = p", "idle_timeout = 5s", "idle timeout = 5s", "timeout = 5s",
    "-idle-timeout = 5s", "error-page = x", "error-page 503 =", "error-page 1 2 = x",
    "error-page-503 = x", "error-page 503 = x\nerror-page  503 = y", "hedge = 2", "hedge =",
    "control = x", "control =", "control = off", "mode = nat", "mode = relay demo",
    "mode = relay\n  demo", "mode = relay # x", "mode = relay ; x", "mode = 'relay'",
    'mode = "relay"', "mode = = relay", "mode == relay", "\0 = 1", "pool = \0", "pool = a\n  \0",
    "pool = a\n  b", "pool = a\n\tmode = relay", "[pool\npool = a", "pool = é", "pool = ${x}",
    "pool = %(x)s", "pool = a,b", "pool = " + "x" * 300, "pool = " + "x" * 20_000,
    "x" * 9000 + " = 1", "pool = a\u200b", "pool\u00a0x = a",
)
"""Lines within `[web w]` of a file that is sound without them."""

BAD = {
    "idle-timeout": (
        "5", "s", "-1s", "1 s", "5S", "1e9s", "inf", "nan", "1m30s", "400d", "off", "٣s", "5s,",
    ),
    "limit": (
        "0", "101", "-1", "1.5", "x", "0x10", "1_0", "٣", "of", "Off", "9" * 400, "1 1", "+1",
    ),
    "mode": (
        "rely", "Relay", "dem", "x" * 500, "relay,demo", "nat", "none", "\\x00", "'", '"', "%",
        "\\",
    ),
    "pool": (
        "a b", "a/b", "-a", ".a", "*", "ä", "a\tb", "a#b", "a;b", "(a)", "a=b", "[a]", "a:b", "a,",
    ),
    "listen": (
        "80", ":80", "*:80", "a:80", "1.2.3:80", "1.2.3.4", "1.2.3.4:", "1.2.3.4:x",
        "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:080", "256.1.1.1:1", "::1:80", "[::1]", "[::1]:",
        "[::g]:1", "[1.2.3.4]:1", "[::1]:80 tls", "1.2.3.4:80,", "1.2.3.4:80 1.2.3.4:81",
        "unix:/x", "localhost:80", "[fe80::1%x]:1",
    ),
    "servers": (
        "a/b", "a weight", "a weight=", "a weight=x", "a weight=257", "a weight=-1", "a wieght=1",
        "a b", "a backup=1", "a backup backup", "a weight=1 weight=2", "a tls", "a tls=x", "-a",
        "a =", "a weight =1",
    ),
    "rise": ("", "x", "1.5", "1 2"),
}
"""Values that their options' parsers refuse."""


def values() -> list[str]:
    """One file for each bad value, alone and as a continuation line."""
    found = []
    for option, texts in BAD.items():
        section = "[pool q]" if option in ("servers", "rise") else "[web x]"
        needs = {"[pool q]": "servers = z\n", "[web x]": "listen = [::]:1\n"}[section]
        for text, lead in product(texts, (" ", "\n  ")):
            required = "" if option in needs else needs
            found.append(f"{section}\n{required}{option} ={lead}{text}\n")
    return found


def files() -> list[str]:
    """Every malformed file that was written by hand."""
    alone = [shape + "\n" for shape in SHAPES]
    after = [f"{SOUND}\n{shape}" for shape in SHAPES]
    within = [f"[web x]\nlisten = [::]:9\n{line}\n" for line in LINES]
    missing = ["[web x]\n", "[pool q]\n", "[web x]\nmode = demo\n", "[pool q]\n#"]
    return [*alone, *after, *within, *missing, *values()]


put_in = st.text("[]=#\n\t \0\r\ufeff\xad\xa0aw:.0é", max_size=6)
cuts = st.tuples(st.integers(0, len(SOUND)), st.integers(0, 12), put_in)


class MalformedTests(SynchronousTestCase):
    """No file makes `read` raise."""

    def held(self, text: str) -> SiteFile:
        """`text` read; whatever is told of it can be shown as one line, with a line of the file."""
        file = site_file(text)
        last = text.count("\n") + 1
        numbers = [problem.line for problem in file.problems]
        self.assertEqual(numbers, sorted(numbers))
        for problem in file.problems:
            shown = str(problem)
            self.assertTrue(1 <= problem.line <= last, shown)
            self.assertTrue(shown.startswith(f"s.ini:{problem.line}: "), shown)
            self.assertTrue(len(shown) < 500 and shown.isprintable(), ascii(shown))
            self.assertIsNone(re.search(r"expected expected|got .*, got ", shown), shown)
        return file

    def test_sound(self) -> None:
        """The file that faults are put into has none."""
        self.assertEqual(self.held(SOUND).problems, ())

    def test_by_hand(self) -> None:
        """More than 400 files with a fault each give an error each."""
        texts = files()
        self.assertGreater(len(set(texts)), 400)
        for text in texts:
            self.assertFalse(self.held(text).ok, ascii(text[:200]))

    def test_bytes(self) -> None:
        """Files of other kinds and encodings are refused as well."""
        for data in (
            SOUND.encode("utf-16"), SOUND.encode("utf-32-be"), b"\x7fELF\x02\x01\x01\0",
            b"\x1f\x8b\x08\0",
            b"\xff\xfe", b"\xc3", b"\xf0\x9f\x98", b"\xed\xa0\x80", bytes(range(256)), b"\0" * 4096,
            SOUND.replace("here", "caf\xe9").encode("latin-1"), SOUND.replace("\n", "\r").encode(),
        ):
            self.assertFalse(self.held(ini.decode(data)).ok)

    def test_truncated(self) -> None:
        """A file that ends anywhere is read to its end."""
        for end in range(0, len(SOUND), 3):
            self.held(SOUND[:end])

    @settings(deadline=None, database=None, max_examples=20)
    @given(st.text(max_size=60) | st.text("[]=#\n \twebpol:19.", max_size=60))
    def test_any_text(self, text: str) -> None:
        """Any text is read."""
        self.held(text)

    @settings(deadline=None, database=None, max_examples=30)
    @given(st.lists(cuts, min_size=1, max_size=4))
    def test_mutations(self, changes: list[tuple[int, int, str]]) -> None:
        """A sound file with pieces taken out and put in is read."""
        text = SOUND
        for at, length, piece in changes:
            text = text[:at] + piece + text[at + length :]
        self.held(text)

    @settings(deadline=None, database=None, max_examples=15)
    @given(st.permutations(SOUND.split("\n")))
    def test_shuffled(self, lines: list[str]) -> None:
        """So is one whose lines are shuffled."""
        self.held("\n".join(lines))
