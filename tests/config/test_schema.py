"""Site files against declarations."""

from __future__ import annotations

import time

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from balancer.config import schema
from balancer.config.schema import Claim, Problem, Reference, Section, option, read
from balancer.config.values import Endpoint, Unreadable, duration
from tests.config.samples import WEB, PoolSettings, ServerLine, WebSettings, site_file, told

LISTEN = "an IP address and port such as 127.0.0.1:80, 0.0.0.0:80 or [::]:80"
WORKING = "[web a]\nlisten = 127.0.0.1:80\n"


class OptionTests(SynchronousTestCase):
    """Declarations."""

    def test_defaults(self) -> None:
        """A default is text that the option's own parser reads."""
        found = WebSettings(listen=())
        self.assertEqual(found.idle_timeout, 60.0)
        self.assertEqual((found.pool, found.limit, found.mode), (None, None, "relay"))
        self.assertEqual((found.error_page, found.control), ({}, None))

    def test_own_dictionaries(self) -> None:
        """No two settings share the dictionary of a keyed option."""
        first, second = WebSettings(listen=()), WebSettings(listen=())
        self.assertIsNot(first.error_page, second.error_page)

    def test_bad_default(self) -> None:
        """A default that the parser does not read is found when it is declared."""
        self.assertRaises(Unreadable, option, duration, default="5", help="")

    def test_names(self) -> None:
        """Option names have hyphens, and an attribute may avoid a word of Python's."""

        @frozen
        class Odd:
            from_: str | None = option(str, help="")
            two_words: tuple[str, ...] = option(str, lines=True, default="a\nb", help="")

        self.assertEqual(list(schema.options_of(Odd)), ["from", "two-words"])
        self.assertEqual(Odd().two_words, ("a", "b"))
        file = read("[odd]\nfrom = here\n", "x", [Section("odd", Odd, help="", named=False)])
        self.assertEqual(file.sections[0].settings.from_, "here")


class SoundTests(SynchronousTestCase):
    """What becomes of a file without fault."""

    def test_settings(self) -> None:
        """Each option has its type, and sections stand in the order of the file."""
        file = site_file(
            "# all kinds\n[pool p]\nservers =\n  a weight=2\n\n  # the other\n  b\nrise=3\n"
            "[web w]\nlisten = [::]:80\n  127.0.0.1:81\npool = p\nidle-timeout = 5m\nlimit = 7\n"
            "error-page  503 = a b.html\nerror-page 404 = c.html\nhedge = off\n[site]\nname = x\n"
        )
        self.assertEqual(file.problems, ())
        self.assertTrue(file.ok)
        self.assertEqual([s.title for s in file.sections], ["pool p", "web w", "site"])
        pool, web, _ = file.sections
        servers = (ServerLine("a", 2), ServerLine("b", 1))
        self.assertEqual(pool.settings, PoolSettings(servers=servers, rise=3))
        listen = (Endpoint("::", 80), Endpoint("127.0.0.1", 81))
        pages = {"503": "a b.html", "404": "c.html"}
        settings = WebSettings(
            listen=listen, pool="p", idle_timeout=300.0, limit=7, error_page=pages
        )
        self.assertEqual(web.settings, settings)
        self.assertEqual(list(WEB.references(settings)), [Reference("pool", "p", "pool")])
        claim = Claim("tcp", "127.0.0.1", 81, "listen", 1)
        self.assertEqual(list(WEB.claims(settings))[1], claim)
        self.assertEqual(file.names, {("pool", "p"), ("web", "w"), ("site", "")})

    def test_lines(self) -> None:
        """The line of each line of each value is known; of what was not given, the section's."""
        (pool,) = site_file("\n[pool p]\nservers = a\n  # no\n  b\n").sections
        self.assertEqual([pool.line_of("servers", i) for i in (0, 1, 2)], [3, 5, 5])
        self.assertEqual(pool.line_of("rise"), 2)

    def test_joined_lines(self) -> None:
        """The value of an option that has one value may go on over several lines."""
        text = "[pool p]\nservers = a\ncheck = http\n  GET /\n   # no\n  x=1\n"
        (pool,) = site_file(text).sections
        self.assertEqual(pool.settings.check, "http GET / x=1")

    def test_empty(self) -> None:
        """An empty file has nothing and is no fault by itself."""
        self.assertEqual(site_file("").sections, ())
        self.assertEqual(told("\n# nothing\n"), [])


class ProblemTests(SynchronousTestCase):
    """Each fault's exact words."""

    def test_unknown_option(self) -> None:
        """An unknown option is told with the one that was meant."""
        self.assertEqual(
            told(WORKING + "idel-timeout = 1s\n"),
            ["s.ini:3: [web a] idel-timeout: unknown option 'idel-timeout'; "
             "did you mean 'idle-timeout'?"],
        )
        self.assertEqual(
            told(WORKING + "backlog = 1\n"), ["s.ini:3: [web a] backlog: unknown option 'backlog'"]
        )

    def test_unknown_section(self) -> None:
        """So is an unknown kind of section, and its options are left alone."""
        self.assertEqual(
            told("[wbe a]\nx = 1\n"),
            ["s.ini:1: [wbe a]: unknown section 'wbe'; did you mean 'web'?"],
        )

    def test_bad_values(self) -> None:
        """A bad value is told with what was expected and what came."""
        for line, text in (
            ("idle-timeout = 5", "expected a duration such as 500ms, 2s or 5m, got '5'"),
            ("idle-timeout =", "expected a duration such as 500ms, 2s or 5m, got ''"),
            ("mode = rely", "expected relay or demo, got 'rely'; did you mean 'relay'?"),
            ("mode = nat", "not in this version, got 'nat'"),
            ("limit = 0", "expected a whole number from 1 to 100, or off, got '0'"),
            ("hedge = 2", "not in this version, got '2'"),
            ("control = x\n  y", "not in this version, got 'x\\ny'"),
            ("pool = a/b", "expected a name of letters, digits, '.', '_' and '-', got 'a/b'"),
            ("idle-timeout = 5s # five",
             "expected a duration such as 500ms, 2s or 5m, got '5s # five'; "
             "a comment stands on a line of its own"),
            ("idle-timeout = 5s\n  pool = a",
             "expected a duration such as 500ms, 2s or 5m, got '5s pool = a'; "
             "did you mean the option 'pool'? Then do not indent it"),
        ):
            option = line.partition(" ")[0]
            self.assertEqual(told(f"{WORKING}{line}\n"), [f"s.ini:3: [web a] {option}: {text}"])

    def test_keyed(self) -> None:
        """A keyed option needs one key, and the others take none."""
        says = "expected one word after the name, as in 'error-page KEY = ...', got"
        self.assertEqual(
            told(WORKING + "error-page = a\nerror-page 1 2 = a\npool x = a\nerror-page 503 =\n"),
            [
                f"s.ini:3: [web a] error-page: {says} ''",
                f"s.ini:4: [web a] error-page 1 2: {says} '1 2'",
                "s.ini:5: [web a] pool x: unknown option 'pool x'; did you mean 'pool'?",
                "s.ini:6: [web a] error-page 503: expected a path of at most 4095 bytes, got ''",
            ],
        )

    def test_lines_of_values(self) -> None:
        """Each bad line of a value is told with its own line, and the good ones are kept."""
        file = site_file("[web a]\nlisten =\n  *:80\n  # no\n\n  x\n  [::]:80\n")
        says = f"[web a] listen: expected {LISTEN}, got"
        self.assertEqual(
            [str(problem) for problem in file.problems],
            [
                f"s.ini:3: {says} '*:80'; did you mean '0.0.0.0:80'?",
                f"s.ini:6: {says} 'x'",
            ],
        )
        (web,) = file.sections
        self.assertEqual(web.settings.listen, (Endpoint("::", 80),))
        self.assertEqual((web.line_of("listen"), web.sound), (7, False))

    def test_words_of_lines(self) -> None:
        """A fault in one word of a line names that word."""
        for line, text in (
            ("a weight=x", "expected weight= and a whole number from 0 to 256, got 'weight=x'"),
            (
                "a weigth=1",
                "expected weight= or backup, got 'weigth=1'; did you mean 'weight='?",
            ),
            ("a bakcup", "expected weight= or backup, got 'bakcup'; did you mean 'backup'?"),
            ("a tls", "not in this version, got 'tls'"),
        ):
            expected = [f"s.ini:2: [pool p] servers: {text}"]
            self.assertEqual(told(f"[pool p]\nservers = {line}\n"), expected)

    def test_foreign_parser(self) -> None:
        """A plain ValueError of a third party's parser is told too."""
        self.assertEqual(
            told("[pool p]\nservers = a\nrise = x\nrise2 = 1\n"),
            [
                "s.ini:3: [pool p] rise: invalid literal for int() with base 10: 'x', got 'x'",
                "s.ini:4: [pool p] rise2: unknown option 'rise2'; did you mean 'rise'?",
            ],
        )
        self.assertEqual(
            told("[pool p]\nservers = a\nrise =\n"),
            ["s.ini:3: [pool p] rise: expected a value, got ''"],
        )

    def test_required(self) -> None:
        """A missing option is told once, at the section, which is known by name alone."""
        file = site_file("\n[web a]\npool = x\n")
        self.assertEqual(
            [str(problem) for problem in file.problems],
            [f"s.ini:2: [web a] listen: option missing; expected {LISTEN}"],
        )
        self.assertEqual((file.sections, file.names), ((), {("web", "a")}))
        self.assertEqual(told("[web a]\nlisten = x\n"), [
            f"s.ini:2: [web a] listen: expected {LISTEN}, got 'x'"
        ])

    def test_titles(self) -> None:
        """Names stand where they belong, and are names."""
        name = "a name of letters, digits, '.', '_' and '-'"
        self.assertEqual(
            told("[web]\nlisten = [::]:1\n[web a b]\nlisten = [::]:1\n[site x]\n"),
            [
                "s.ini:1: [web]: expected a name, as in [web NAME], got ''",
                f"s.ini:3: [web a b]: expected {name}, got 'a b'",
                "s.ini:5: [site x]: expected [site] without a name, got 'x'",
            ],
        )

    def test_later_and_unusable_kinds(self) -> None:
        """A kind that is not built, or cannot be used here, is refused with its line."""
        self.assertEqual(
            told("[dns a.test]\nttl = 1\n[odd x]\n"),
            [
                "s.ini:1: [dns a.test]: not in this version",
                "s.ini:3: [odd x]: the kind 'odd' does not import: no module 'odd'",
            ],
        )

    def test_repeats(self) -> None:
        """Of a repeated section all faults are told, but it counts once."""
        file = site_file(f"{WORKING}[web a]\nmode = x\n")
        self.assertEqual(
            [str(problem) for problem in file.problems],
            [
                "s.ini:3: [web a]: section repeated; it already stands in line 1",
                "s.ini:4: [web a] mode: expected relay or demo, got 'x'",
            ],
        )
        self.assertEqual(len(file.sections), 1)
        self.assertEqual(
            told(f"{WORKING}mode = relay\nmode = demo\n"),
            ["s.ini:4: [web a] mode: option repeated; it already stands in line 3"],
        )

    def test_relations(self) -> None:
        """What a section's own check finds has the line of that line of the option."""
        text = "[web a]\nlisten = [::]:1\n  [::]:666\n\nerror-page 503 = x\n"
        self.assertEqual(
            told(text),
            [
                "s.ini:3: [web a] listen: expected any other port, got '666'",
                "s.ini:5: [web a] error-page: expected a pool beside it",
            ],
        )
        self.assertEqual(told(WORKING + "pool = none\n"), [
            "s.ini:1: [web a] idle-timeout: expected nothing of this"
        ])

    def test_relations_of_unsound(self) -> None:
        """A section with a fault is not asked about its relations."""
        self.assertEqual(len(told("[web a]\nlisten = [::]:666\nmode = x\n")), 1)

    def test_all_at_once(self) -> None:
        """Problems of every kind come together, by line."""
        file = site_file("x\n[web a]\nlisten = y\nlisen = 1\nnothing\n[dns z]\n[foo]\n[web b]\n")
        self.assertEqual([p.line for p in file.problems], [1, 3, 4, 5, 6, 7, 8])
        self.assertFalse(file.ok)

    def test_shape(self) -> None:
        """Path and line stand first; parts that are not there leave nothing behind."""
        self.assertEqual(str(Problem("p", 1, "", "", "t")), "p:1: t")
        self.assertEqual(str(Problem("p", 1, "a", "", "t")), "p:1: [a]: t")
        self.assertEqual(str(Problem("p", 1, "a", "b", "t", "warning")), "p:1: [a] b: t")
        self.assertTrue(schema.SiteFile("p", (), (Problem("p", 1, "", "", "t", "warning"),)).ok)

    def test_long_words(self) -> None:
        """However long the words of a file are, a problem stays a line that can be read."""
        word = "y" * 9000
        for text in (f"[{word}]", f"[web {word}]", f"{word} = 1", f"mode = {word}"):
            for problem in told(text) + told(WORKING + text):
                self.assertLess(len(problem), 400)


class BoundTests(SynchronousTestCase):
    """Large files."""

    def test_twenty_thousand_lines(self) -> None:
        """A sound file of 20,000 lines is read in well under a second of CPU."""
        part = "listen = 127.0.0.1:80\nmode = demo\nidle-timeout = 5s\npool = p\n"
        text = "".join(f"[web w{i}]\n{part}" for i in range(4000))
        start = time.process_time()
        file = site_file(text)
        self.assertLess(time.process_time() - start, 0.9)
        self.assertEqual((len(file.sections), file.problems), (4000, ()))

    def test_many_problems(self) -> None:
        """A file full of faults is given up after a thousand, quickly."""
        start = time.process_time()
        for text in (
            WORKING + "".join(f"idle-timeuot{i} = 1\n" for i in range(5_000)),
            "".join(f"[wbe a{i}]\n" for i in range(5_000)),
            "[web a]\n" + "x\n" * 5_000,
        ):
            problems = site_file(text).problems
            self.assertLess(len(problems), 1010)
            self.assertIn("too many problems", problems[-1].text)
        self.assertLess(time.process_time() - start, 0.9)
