"""The options of [http NAME]."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.config.schema import SiteFile, read
from balancer.config.values import NotBuilt, Unreadable
from balancer.http.maker import maker
from balancer.http.settings import SECTION, HttpSettings, Rate, field_line, field_name, listen, rate
from balancer.interfaces import IBalancerMaker


def parsed(text: str) -> SiteFile:
    """A site file with one [http web] section."""
    return read("[http web]\nlisten = 127.0.0.1:80\n" + text, "site.ini", [SECTION])


class SettingsTests(SynchronousTestCase):
    """What the section says."""

    def settings(self, text: str) -> HttpSettings:
        """The settings of a section without a problem."""
        file = parsed(text)
        self.assertEqual(file.problems, ())
        settings = file.sections[0].settings
        assert isinstance(settings, HttpSettings)
        return settings

    def problem(self, text: str) -> str:
        """The one problem of a section."""
        problems = parsed(text).problems
        self.assertEqual(len(problems), 1, problems)
        return str(problems[0])

    def test_defaults(self) -> None:
        """Nothing but a listener and a pool needs to be said."""
        settings = self.settings("pool = app\n")
        self.assertEqual((settings.head_timeout, settings.idle_timeout), (10.0, 60.0))
        self.assertEqual((settings.max_head, settings.max_body), (16384, None))
        self.assertEqual((settings.forwarded, settings.access_log), ("x-forwarded", None))
        self.assertEqual((settings.routes, settings.error_page, settings.rate), ((), {}, None))

    def test_references(self) -> None:
        """Pools are referred to by `pool` and by routes, with the line that does."""
        settings = self.settings("pool = app\nroutes =\n  path=/a -> respond 200\n  -> pool two\n")
        references = [(r.kind, r.name, r.option, r.index) for r in SECTION.references(settings)]
        self.assertEqual(references, [("pool", "app", "pool", 0), ("pool", "two", "routes", 1)])

    def test_claims(self) -> None:
        """Each line of `listen` claims a TCP listener."""
        text = "[http web]\nlisten =\n  127.0.0.1:80\n  [::1]:81 http2=off\npool = a\n"
        settings = read(text, "site.ini", [SECTION]).sections[0].settings
        claims = [(c.protocol, c.host, c.port, c.index) for c in SECTION.claims(settings)]
        self.assertEqual(claims, [("tcp", "127.0.0.1", 80, 0), ("tcp", "::1", 81, 1)])

    def test_neither_pool_nor_routes(self) -> None:
        """A balancer that leads nowhere is a mistake."""
        self.assertIn("expected a pool, or routes", self.problem(""))

    def test_routes_never_reached(self) -> None:
        """A route after one that matches everything is a mistake, at its line."""
        problem = self.problem("routes =\n  -> pool a\n  path=/b -> pool b\n")
        self.assertIn("site.ini:5: [http web] routes:", problem)

    def test_error_page_codes(self) -> None:
        """Error pages are for the codes that the balancer itself answers."""
        self.assertEqual(self.settings("pool = a\nerror-page 503 = f\n").error_page, {"503": "f"})
        self.assertIn("got '500'", self.problem("pool = a\nerror-page 500 = f\n"))

    def test_not_in_this_version(self) -> None:
        """What the contract names and this version lacks is refused."""
        for word in ("client-ca=x.pem", "proxy-protocol", "http2=on", "http2"):
            self.assertRaises(NotBuilt, listen, f"127.0.0.1:80 {word}")
        self.assertRaises(NotBuilt, rate, "1/s per path")
        self.assertRaises(NotBuilt, rate, "1/s per header:X-A burst=2")
        self.assertIn("not in this version", self.problem("pool = a\nmin-rate = 1k\n"))

    def test_listen(self) -> None:
        """A listener is a literal address; other words are refused."""
        self.assertEqual(str(listen("[::1]:80 http2=off")), "[::1]:80")
        for text in ("", "localhost:80", "127.0.0.1:80 tsl=x"):
            self.assertRaises(Unreadable, listen, text)

    def test_tls(self) -> None:
        """A listener may say where its certificates are, once."""
        found = listen("127.0.0.1:443 tls=tls/site.pem http2=off")
        self.assertEqual((found.endpoint.port, found.tls), (443, "tls/site.pem"))
        self.assertEqual(str(found), "127.0.0.1:443 tls=tls/site.pem")
        for words in ("tls", "tls=", "tls=a tls=b"):
            self.assertRaises(Unreadable, listen, f"127.0.0.1:443 {words}")

    def test_redirect_to_https(self) -> None:
        """`redirect https` needs a listener without TLS; beside one with TLS it may catch all of
        the plain requests, and other routes may follow."""
        routes = "routes =\n  -> redirect https\n  -> pool a\n"
        lines = "\n  127.0.0.1:81 tls=x\n"
        both = "[http web]\nlisten =\n  127.0.0.1:80" + lines + routes
        self.assertEqual(read(both, "site.ini", [SECTION]).problems, ())
        alone = "[http web]\nlisten =" + lines + routes
        told = [str(problem) for problem in read(alone, "site.ini", [SECTION]).problems]
        self.assertEqual(
            told,
            ["site.ini:5: [http web] routes: "
             "expected a listener without tls, for 'redirect https' to match"],
        )
        self.assertIn("expected it before line 1", self.problem(routes))

    def test_rate(self) -> None:
        """A rate is per second, minute or hour; its burst is a second's worth unless given."""
        self.assertEqual(rate("100/s per source"), Rate(100, 100))
        self.assertEqual(rate("60/m per source burst=5"), Rate(1, 5))
        self.assertEqual(rate("1/h per source").burst, 1)
        for text in ("", "100", "0/s per source", "1/s", "1/s per", "1/s per sauce", "1/s burst=0"):
            self.assertRaises(Unreadable, rate, text)

    def test_fields(self) -> None:
        """Header edits are `Name: value`, and leave alone what frames a message."""
        self.assertEqual(field_line("X-A:  b c ").line, b"X-A: b c\r\n")
        for text in ("X-A", "X A: b", ": b", "X-A: b\r\nX: y", "X-A: ü", "Content-Length: 3"):
            self.assertRaises(Unreadable, field_line, text)
        for text in ("", "a b", "Transfer-Encoding", "host"):
            self.assertRaises(Unreadable, field_name, text)

    def test_max_head(self) -> None:
        """`max-head` stays within what makes sense."""
        self.assertIn("from 1k to 1m", self.problem("pool = a\nmax-head = 10\n"))


class MakerTests(SynchronousTestCase):
    """The plugin."""

    def test_interface(self) -> None:
        """The maker is an IBalancerMaker of the kind http."""
        verifyObject(IBalancerMaker, maker)
        self.assertEqual((maker.kind, maker.section), ("http", SECTION))
