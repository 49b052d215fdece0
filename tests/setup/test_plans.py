"""What the verbs plan, without a machine."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.setup import bfd, kernel
from balancer.setup.names import distinct, file_name, name
from balancer.setup.steps import (
    MARK,
    CannotSetUp,
    Directory,
    Edit,
    Remove,
    Run,
    Write,
    told,
)

BIRD = "log syslog all;\nprotocol device {\n}\n"


class KernelTests(SynchronousTestCase):
    """`kernel`"""

    def test_written(self) -> None:
        """Without the drop-in it is written, and systemd is told where it runs."""
        plan = kernel.plan(None, {}, booted=True)
        self.assertEqual((Write(kernel.PATH, kernel.TEXT), kernel.RELOAD), plan.steps)
        self.assertEqual(1, len(plan.then))
        self.assertEqual((Write(kernel.PATH, kernel.TEXT),),
                         kernel.plan(None, {}, booted=False).steps)

    def test_settled(self) -> None:
        """With it there is nothing to do, and systemd is left alone."""
        plan = kernel.plan(kernel.TEXT, {}, booted=True)
        self.assertEqual(((), ()), (plan.steps, plan.then))
        self.assertEqual((f"{kernel.PATH} is as it should be",), plan.settled)

    def test_older(self) -> None:
        """One of an older version is replaced; one of an operator's is not touched."""
        older = f"{MARK} kernel, long ago\n[Service]\n"
        self.assertEqual(Write(kernel.PATH, kernel.TEXT), kernel.plan(older, {}, False).steps[0])
        for act in (lambda: kernel.plan("[Service]\n", {}, False),
                    lambda: kernel.undone("[Service]\n", False)):
            error = self.assertRaises(CannotSetUp, act)
            self.assertIn(f"{kernel.PATH}: expected no file, or one of bal", str(error))

    def test_forwarding(self) -> None:
        """A machine that passes nothing on is told so, since [ecmp] is of use on routers only."""
        plan = kernel.plan(kernel.TEXT, {"net.ipv4.ip_forward": False, "x": True}, False)
        self.assertEqual(("for [ecmp]: net.ipv4.ip_forward is 0, this machine is no router yet",),
                         plan.then)

    def test_undone(self) -> None:
        """`undo` removes it, and does nothing where it is not."""
        plan = kernel.undone(kernel.TEXT, booted=True)
        self.assertEqual((Remove(kernel.PATH), kernel.RELOAD), plan.steps)
        self.assertEqual((), kernel.undone(None, booted=True).steps)


class BfdTests(SynchronousTestCase):
    """`bfd`"""

    def setUp(self) -> None:
        """A configuration."""
        self.text = bfd.configuration(("203.0.113.1", "fe80::1%eth0"), bfd.Timers(3, 50))

    def test_configuration(self) -> None:
        """Each router and the timers are in it."""
        for line in ("neighbor 203.0.113.1;", 'neighbor fe80::1 dev "eth0";', "multiplier 3;",
                     "min rx interval 50 ms;", "min tx interval 50 ms;"):
            self.assertIn(f" {line}\n", self.text)

    def test_included(self) -> None:
        """BIRD's own file gets one line, after the file that it names is there; then BIRD is
        told."""
        plan = bfd.plan(self.text, None, BIRD, booted=True)
        added = Edit(bfd.BIRD, f"{BIRD}{bfd.INCLUDE}\n", f"+ {bfd.INCLUDE}")
        self.assertEqual((Write(bfd.PATH, self.text), added, bfd.RELOAD), plan.steps)
        self.assertEqual(3, len(plan.then))

    def test_last_line(self) -> None:
        """A last line that does not end is not torn."""
        plan = bfd.plan(self.text, self.text, BIRD.rstrip(), booted=False)
        self.assertEqual(Edit(bfd.BIRD, f"{BIRD}{bfd.INCLUDE}\n", f"+ {bfd.INCLUDE}"),
                         plan.steps[0])

    def test_settled_and_undone(self) -> None:
        """Twice is once, and `undo` gives BIRD's file back as it was."""
        included = f"{BIRD}{bfd.INCLUDE}\n"
        self.assertEqual(((), ()), (bfd.plan(self.text, self.text, included, True).steps,
                                    bfd.undone(None, BIRD, True).steps))
        self.assertEqual((Edit(bfd.BIRD, BIRD, f"- {bfd.INCLUDE}"), Remove(bfd.PATH), bfd.RELOAD),
                         bfd.undone(self.text, included, True).steps)

    def test_other_routers(self) -> None:
        """Other routers replace those of before, and the line stays."""
        other = bfd.configuration(("203.0.113.2",), bfd.Timers(3, 50))
        plan = bfd.plan(other, self.text, f"{BIRD}{bfd.INCLUDE}\n", booted=False)
        self.assertEqual((Write(bfd.PATH, other),), plan.steps)

    def test_refused(self) -> None:
        """No BIRD, and a BFD of the operator's own, are told with what to do."""
        error = self.assertRaises(CannotSetUp, bfd.plan, self.text, None, None, True)
        self.assertIn("apt install bird2", str(error))
        own = f"{BIRD}  protocol bfd mine {{}}\n"
        error = self.assertRaises(CannotSetUp, bfd.plan, self.text, None, own, True)
        self.assertIn(f"{bfd.BIRD}:4: expected no `protocol bfd`", str(error))
        commented = f"{BIRD}# protocol bfd mine {{}}\n"
        self.assertEqual(2, len(bfd.plan(self.text, None, commented, False).steps))

    def test_values(self) -> None:
        """Timers and addresses are read, and what they are not is said."""
        self.assertEqual(bfd.Timers(5, 10), bfd.timers("5x10ms"))
        for text in ("", "3x300", "0x300ms", "256x50ms", "3x5ms", "3x10001ms", "3x50ms;"):
            self.assertIn("such as 3x300ms", str(self.assertRaises(ValueError, bfd.timers, text)))
        self.assertEqual("2001:db8::1", bfd.neighbor("2001:DB8:0::1"))
        self.assertEqual("fe80::1%eth0", bfd.neighbor("fe80::1%eth0"))
        for text in ("router", "10.0.0.0/8", "", "fe80::1", 'fe80::1%e"', "203.0.113.1;"):
            self.assertRaises(ValueError, bfd.neighbor, text)


class NameTests(SynchronousTestCase):
    """Names of certificates."""

    def test_names(self) -> None:
        """Names are brought to one form, and what is none is refused."""
        for text, read in {"WWW.Example.org.": "www.example.org", "*.example.org": "*.example.org",
                           "2001:DB8:0::1": "2001:db8::1", "192.0.2.1": "192.0.2.1",
                           "localhost": "localhost", "_x.example.org": "_x.example.org"}.items():
            self.assertEqual(read, name(text))
        for text in ("", ".", "a..b", "-a.b", "a b", "*", "*.", "a.*.b", "../x", "a/b", "1.2.3.400",
                     "bücher.example", "x" * 64 + ".org", ".".join(["abcdefg"] * 40)):
            self.assertRaises(ValueError, name, text)

    def test_files(self) -> None:
        """The first name names the file."""
        self.assertEqual(("b", "a"), distinct(("b", "a", "b")))
        self.assertEqual("_.example.org.pem", file_name("*.example.org"))
        self.assertEqual("2001-db8--1.pem", file_name("2001:db8::1"))

    @given(st.text(max_size=300))
    def test_any(self, text: str) -> None:
        """Whatever is taken for a name gives a file's name that shells and paths leave alone."""
        try:
            read = name(text)
        except ValueError:
            return
        self.assertEqual(read, name(read))
        self.assertTrue(re.fullmatch(r"[a-z0-9._-]+\.pem", file_name(read)), read)


class ToldTests(SynchronousTestCase):
    """How steps are shown."""

    def test_told(self) -> None:
        """Each kind of step, and no key."""
        for step, lines in (
            (Write("/a", "x\ny\n"), ["write /a (mode 0644)", "    x", "    y"]),
            (Write("/a", "key", 0o640, "g", is_secret=True), ["write /a (mode 0640, group g)"]),
            (Edit("/a", "all of it", "+ x"), ["change /a", "    + x"]),
            (Remove("/a"), ["remove /a"]),
            (Directory("/a", 0o750, "g"), ["make /a/ (mode 0750, group g)"]),
            (Run(("systemctl", "daemon-reload")), ["run systemctl daemon-reload"]),
        ):
            self.assertEqual(lines, list(told(step)))
