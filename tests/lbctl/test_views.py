"""What the operator sees for each result: golden texts at 80 columns."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.lbctl.views import VIEWS, event_lines, is_sound
from balancer.lbctl.words import moment
from tests.lbctl import samples

STATUS = f"""\
site example: running, healthy, since {moment(0)}
version 0.1.0, pid 4711, /etc/balancer/site.ini

balancer          listen               healthy  connections  requests
http:web          127.0.0.1:8080       yes               12      1.2M
                  [::1]:8080
tcp:echo          127.0.0.1:8081       no                 0         9
udp:echo          127.0.0.1:8082       yes                2         5
dns:example.test  127.0.0.1:8053       yes                -         7
demo:a            http 127.0.0.1:9001  yes                1        11
                  udp 127.0.0.1:9021
new:kind          -                    yes                -         -

pool web: round-robin, 1 of 3 up
server  state  since  weight  in flight  requests  failures  last check
a       up     2m05s       1          3    135599         0  status 200, 1.1 ms
b       down   2h05m       1          0         0      1.2M  connection refused
c       maint  2m05s       0          0         0         0  -
"""

EXPLAINED = """\
GET http://www.example.org/x from 192.0.2.1
balancer  http:web
rule      2: host=www.example.org -> pool web
pool      web
chosen    a

server  usable  why not
a       yes
b       no      down: connection refused, and that by a server whose name nobody
                would have thought of
"""


class Views(SynchronousTestCase):
    """Each verb's lines."""

    def lines(self, verb: str, result: dict[str, Any], **request: Any) -> str:
        """The text for `result` at 80 columns."""
        lines = VIEWS[verb]({"verb": verb, **request}, result, 80)
        for line in lines:
            if not line.startswith("f:"):
                self.assertLessEqual(len(line), 80, line)
            self.assertTrue(line.isprintable(), line)
        return "".join(line + "\n" for line in lines)

    def test_status(self) -> None:
        """The site, its balancers with all their listeners, and each pool's servers."""
        self.assertEqual(self.lines("status", samples.site()), STATUS)

    def test_crowded(self) -> None:
        """However long names, addresses and numbers are, lines fit and ends can be told apart."""
        text = self.lines("status", samples.crowded())
        self.assertIn("]:65535", text)
        self.assertIn("1.0G", text)
        self.assertIn("-deep/site.ini\n", text)
        self.assertIn("leaving", text)

    def test_little(self) -> None:
        """A status with nothing in it is no error."""
        self.assertIn("site -", self.lines("status", {}))
        self.assertIn("nobody available", self.lines("status", {
            "pools": {"web": {"healthy": False, "servers": {}}}}))

    def test_warnings(self) -> None:
        """What is amiss with the site is said before the tables."""
        status = samples.site()
        status["site"] |= {"unavailable": {"dns": "no module"}, "warnings": ["f:1: x (warning)"]}
        text = self.lines("status", status)
        self.assertIn("\nnot available: dns: no module\nf:1: x (warning)\n\n", text)

    def test_reason(self) -> None:
        """Of a server that somebody took out, it is said who, instead of its last check."""
        for state, shown in (("drain", "overrides, line 2"), ("up", "status 200, 1.1 ms")):
            each = samples.server("a", state=state, reason="overrides, line 2")
            text = self.lines("status", {"pools": {"web": {"servers": {"a": each}}}})
            self.assertEqual(text.splitlines()[-1].rpartition("  ")[2], shown)

    def test_check(self) -> None:
        """A site file's problems are shown as they are, then the verdict."""
        self.assertEqual(self.lines("check", {"ok": True, "problems": []}, file="/f"), "/f: ok\n")
        self.assertEqual(
            self.lines("check", {"ok": False, "problems": ["f:1: [pool x]: " + "bad" * 40]},
                       file="/f"),
            "f:1: [pool x]: " + "bad" * 40 + "\n/f: has errors; it would not be put in force\n",
        )

    def test_sound(self) -> None:
        """Warnings are no errors."""
        self.assertTrue(is_sound({"problems": ["f:1: x (warning)"]}))
        self.assertFalse(is_sound({"problems": ["f:1: x"]}))
        self.assertFalse(is_sound({"ok": False}))

    def test_plan(self) -> None:
        """Changes are listed; none is said so."""
        changes = ["+ server web/c 127.0.0.1:9003", "~ pool web: retries 2 -> 3"]
        self.assertEqual(self.lines("plan", {"changes": changes}), "\n".join(changes) + "\n")
        self.assertEqual(self.lines("plan", {"changes": []}), "no changes\n")
        self.assertEqual(self.lines("plan", {"changes": [], "commands": ["ip nexthop del id 1"]}),
                         "no changes\n\nthe same by hand:\nip nexthop del id 1\n")
        self.assertEqual(self.lines("reload", {"changes": changes[:1]}),
                         changes[0] + "\nreloaded: 1 change\n")
        self.assertEqual(self.lines("reload", {"changes": []}), "no changes\n")

    def test_server(self) -> None:
        """A server's new state is one line; what else is told follows."""
        result = {"server": "web/a", "state": "drain", "weight": 1}
        self.assertEqual(self.lines("drain", result), "web/a is draining, weight 1\n")
        self.assertEqual(self.lines("maint", {"server": "web/a", "state": "maint", "left": 3}),
                         "web/a is in maintenance\nleft  3\n")
        self.assertEqual(self.lines("ready", {"done": True}), "done  yes\n")

    def explain(self, result: dict[str, Any]) -> str:
        """The text for a question about HTTP."""
        question = {"method": "GET", "url": "http://www.example.org/x", "from": "192.0.2.1"}
        return self.lines("explain", result, kind="http", name="", question=question)

    def test_explain(self) -> None:
        """The rule, the candidates and why not, and the chosen one."""
        self.assertEqual(self.explain({
            "balancer": "http:web", "rule": "2: host=www.example.org -> pool web", "pool": "web",
            "candidates": [
                {"server": "a", "usable": True, "why": ""},
                {"server": "b", "usable": False, "why": "down: connection refused, and that by a "
                 "server whose name nobody would have thought of"},
            ],
            "chosen": "a",
        }), EXPLAINED)

    def test_explain_nobody(self) -> None:
        """When nobody is chosen that is said in words."""
        text = self.explain({"rule": "default", "chosen": None, "candidates": [
            {"server": "b", "usable": False, "why": "down"}]})
        self.assertIn("\nchosen  nobody: no server can take it now\n", text)

    def test_explain_dns(self) -> None:
        """A query's records have lines of their own, and what there is none of is left out."""
        records = ["www.example.test. 30 IN A 192.0.2.1",
                   'www.example.test. 30 IN TXT "' + "x" * 99]
        result = {
            "balancer": "dns:example.test", "rule": "answers: www pool=web", "pool": "web",
            "candidates": [{"server": "a", "usable": True, "why": ""}], "chosen": None,
            "records": records, "ttl": 30, "scope": "192.0.2.0/24", "place": None,
        }
        question = {"type": "A", "from": "192.0.2.1"}
        text = self.lines("explain", result, kind="dns", name="www.example.test", question=question)
        self.assertTrue(text.startswith("www.example.test A from 192.0.2.1\nbalancer  dns:"), text)
        self.assertIn(f"\nrecords   {records[0]}\n          www", text)
        self.assertIn("\nttl       30\nscope     192.0.2.0/24\n\nserver", text)
        result["records"] = []
        text = self.lines("explain", result, kind="dns", name="www.example.test", question=question)
        self.assertIn("\nchosen    nobody: no server can take it now\nrecords   -\n", text)

    def test_explain_subdomains(self) -> None:
        """Each server's name has a line, and nobody is said to be chosen."""
        result = {
            "balancer": "subdomains:www", "names": ["a: www1.x.test", "b: www2.x.test"],
            "candidates": [{"server": "a", "usable": True, "why": ""}],
        }
        text = self.lines("explain", result, kind="subdomains", name="www", question={})
        self.assertEqual(
            text,
            "subdomains:www\nbalancer  subdomains:www\n"
            "names     a: www1.x.test\n          b: www2.x.test\n"
            "\nserver  usable  why not\na       yes\n",
        )

    def test_explain_answer(self) -> None:
        """An answer of the balancer's own has no table."""
        text = self.explain({"rule": "1: -> redirect", "answer": {"code": 301, "to": "https"}})
        self.assertEqual(text.splitlines()[1:], ["rule    1: -> redirect",
                                                 "answer  code 301, to https"])

    def test_explain_flow(self) -> None:
        """A flow is named by its balancer and where it comes from."""
        text = self.lines("explain", {"chosen": "a"}, kind="tcp", name="echo",
                          question={"from": "[::1]:9"})
        self.assertEqual(text, "tcp:echo from [::1]:9\nchosen  a\n")

    def test_events(self) -> None:
        """Events have their time and number, and keep all of their text."""
        event = {"id": 7, "at": 0, "text": "web/a went down: " + "no " * 20 + "route"}
        self.assertEqual(self.lines("events", {"events": [event]}), (
            "time                 id  event\n"
            f"{moment(0)}   7  web/a went down: no no no no no no no no no no no no no\n"
            "                         no no no no no no no route\n"
        ))
        self.assertEqual(self.lines("events", {"events": []}), "no events are kept\n")

    def test_event_of_a_stream(self) -> None:
        """Events of a stream stand in columns though each comes alone."""
        lines = [event_lines({"id": number, "at": 0, "text": "x"}, 80) for number in (7, 12345)]
        self.assertEqual(lines, [[f"{moment(0)}       7  x"], [f"{moment(0)}   12345  x"]])
