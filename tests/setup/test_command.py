"""The command `balancer-setup`, on a machine of files."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from balancer.setup import bfd, command, kernel
from balancer.setup.command import DONE, FAILED, USAGE, main, parser
from balancer.setup.disk import Disk, NoRights
from balancer.setup.steps import CannotSetUp, Remove, Run, Write
from balancer.wire.certificates import load

BIRD = "protocol device {\n}\n"
TLS = "etc/balancer/tls"


class SetupTestCase(SynchronousTestCase):
    """A root directory, and the command in it."""

    def setUp(self) -> None:
        """A machine that has our own group as the balancer's."""
        self.root = Path(self.mktemp()).absolute()
        # Whatever goes wrong with --root, this machine is not what is changed.
        self.patch(command, "MACHINE", self.root / "not-here")
        (self.root / "etc" / "bird").mkdir(parents=True)
        (self.root / "etc" / "group").write_text(f"root:x:0:\nbalancer:x:{os.getgid()}:\n")
        (self.root / "etc" / "bird" / "bird.conf").write_text(BIRD)

    def run_words(self, *words: str) -> tuple[int, str, str]:
        """The exit code, and what was printed on both streams."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(["--root", str(self.root), *words])
            except SystemExit as stop:
                code = int(str(stop.code))
        return code, out.getvalue(), err.getvalue()

    def files(self) -> dict[str, str]:
        """Every file by its path, with its text."""
        return {str(path.relative_to(self.root)): path.read_text()
                for path in self.root.rglob("*") if path.is_file()}

    def done(self, *words: str) -> str:
        """What a run prints that ends well."""
        code, out, err = self.run_words(*words)
        self.assertEqual((DONE, ""), (code, err))
        return out


class FileTests(SetupTestCase):
    """`kernel`, `bfd` and `undo`."""

    VERBS = (("kernel",), ("bfd", "203.0.113.1"))

    def test_there_and_back(self) -> None:
        """A verb does what it prints; a second time there is nothing to do; `undo` leaves what was
        there before."""
        before = self.files()
        for words in self.VERBS:
            self.assertIn("write /etc/", self.done(*words))
            after = self.files()
            self.assertNotEqual(before, after)
            self.assertTrue(self.done(*words).startswith("nothing to do: "))
            self.assertEqual(after, self.files())
            self.assertIn("remove /etc/", self.done("undo", words[0]))
            self.assertEqual(before, self.files())
            self.assertTrue(self.done("undo", words[0]).startswith("nothing to do: "))
        self.assertFalse((self.root / kernel.PATH[1:]).parent.exists())

    def test_dry_run(self) -> None:
        """`--dry-run` prints the same, and changes nothing, before the verb and after it."""
        for words in (*self.VERBS, ("certificate", "www.example.org")):
            before = self.files()
            printed = self.done("--dry-run", *words)
            self.assertEqual(printed, self.done(*words, "--dry-run"))
            self.assertEqual(before, self.files())
            self.assertEqual(printed, self.done(*words))

    def test_root(self) -> None:
        """`--root` and `--dry-run` count before the verb and after it."""
        for words in (("--root", str(self.root), "kernel"), ("kernel", "--root", str(self.root))):
            with redirect_stdout(io.StringIO()):
                self.assertEqual(DONE, main(words))
            self.assertTrue((self.root / kernel.PATH[1:]).exists())
            self.done("undo", "kernel")
        self.assertFalse((self.root / "not-here").exists())

    def test_text(self) -> None:
        """What is printed of a file is the file."""
        printed = self.done("kernel")
        written = (self.root / kernel.PATH[1:]).read_text()
        self.assertEqual(kernel.TEXT, written)
        for line in written.splitlines():
            self.assertIn(f"    {line}\n", printed)

    def test_modes(self) -> None:
        """Ours is for all to read; BIRD's own file keeps its mode."""
        own = self.root / "etc" / "bird" / "bird.conf"
        own.chmod(0o640)
        self.done("bfd", "203.0.113.1", "2001:db8::1", "--timers", "3x50ms")
        self.assertEqual(0o640, own.stat().st_mode & 0o777)
        self.assertEqual(0o644, (self.root / bfd.PATH[1:]).stat().st_mode & 0o777)

    def test_link(self) -> None:
        """Where BIRD's own file is a link it stays one, and the file behind it is changed."""
        own = self.root / "etc" / "bird" / "bird.conf"
        own.rename(self.root / "real")
        own.symlink_to("../../real")
        self.done("bfd", "203.0.113.1")
        self.assertTrue(own.is_symlink())
        self.assertIn(bfd.INCLUDE, (self.root / "real").read_text())

    def test_links_out(self) -> None:
        """A link that leads out of the root is not followed: nothing is read or written there."""
        outside = Path(self.mktemp()).absolute()
        outside.mkdir()
        own = self.root / "etc" / "bird" / "bird.conf"
        own.rename(outside / "bird.conf")
        own.symlink_to(outside / "bird.conf")
        (self.root / TLS).parent.mkdir()
        (self.root / TLS).symlink_to(outside)
        for words in (("bfd", "203.0.113.1"), ("certificate", "www.example.org")):
            code, out, err = self.run_words(*words)
            self.assertEqual((FAILED, ""), (code, out))
            self.assertIn(f"expected a file beneath {self.root}, got a link to {outside}", err)
        self.assertEqual(["bird.conf"], [each.name for each in outside.iterdir()])
        self.assertEqual(BIRD, (outside / "bird.conf").read_text())

    def test_failures(self) -> None:
        """What cannot be done says where, what was expected and what to do, and changes nothing."""
        (self.root / "etc" / "bird" / "bird.conf").unlink()
        before = self.files()
        code, out, err = self.run_words("bfd", "203.0.113.1")
        self.assertEqual((FAILED, ""), (code, out))
        self.assertEqual("balancer-setup: /etc/bird/bird.conf: expected BIRD's own file, got none; "
                         "apt install bird2\n", err)
        self.assertEqual(before, self.files())

    def test_usage(self) -> None:
        """A command line that cannot be read is told, and ends with 2."""
        for words, said in {(): "expected a verb", ("no-such",): "no-such",
                            ("bfd",): "ROUTER", ("bfd", "x"): "expected a router's address",
                            ("bfd", "::1", "--timers", "1"): "such as 3x300ms",
                            ("certificate", "a b"): "expected a name such as",
                            ("certificate", "a", "--days", "0"): "expected 1 to 3650 days",
                            ("undo", "certificate"): "certificate",
                            ("kernel", "--root", "/no/such"): "expected a directory"}.items():
            code, out, err = self.run_words(*words)
            self.assertEqual((USAGE, ""), (code, out), words)
            self.assertIn(said, err)


class CertificateTests(SetupTestCase):
    """`certificate`"""

    NAMES = ("www.example.org", "*.example.org", "192.0.2.1", "2001:db8::1")

    def path(self) -> Path:
        """The file for `NAMES`."""
        return self.root / TLS / "www.example.org.pem"

    def test_usable(self) -> None:
        """The balancer takes it, for all of its names, without a warning."""
        self.done("certificate", *self.NAMES)
        found = load(self.root / TLS)
        self.assertEqual((), found.warnings)
        self.assertEqual(set(self.NAMES), set(found.pairs[0].names))
        ends = found.pairs[0].expires - datetime.now(UTC)
        self.assertTrue(timedelta(days=364) < ends <= timedelta(days=365), ends)

    def test_key(self) -> None:
        """A P-256 key, which is printed nowhere and read by root and the group alone."""
        printed = self.done("certificate", *self.NAMES)
        certificate = x509.load_pem_x509_certificate(self.path().read_bytes())
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.assertEqual("secp256r1", key.curve.name)
        self.assertNotIn("BEGIN", printed)
        found = self.path().stat()
        self.assertEqual((0o640, os.getgid()), (found.st_mode & 0o777, found.st_gid))
        self.assertEqual(0o750, self.path().parent.stat().st_mode & 0o777)

    def test_group(self) -> None:
        """The file has the group that is asked for, and without such a group nothing is made."""
        if os.geteuid():
            raise SkipTest("needs root")
        with (self.root / "etc" / "group").open("a") as groups:
            groups.write("keys:x:4711:\n")
        self.done("certificate", "a", "--group", "keys")
        self.assertEqual(4711, (self.root / TLS / "a.pem").stat().st_gid)
        self.assertEqual(4711, (self.root / TLS).stat().st_gid)
        code, out, err = self.run_words("certificate", "b", "--group", "none")
        self.assertEqual((FAILED, ""), (code, out))
        self.assertIn("expected the group 'none', got none", err)
        self.assertFalse((self.root / TLS / "b.pem").exists())

    def test_stays(self) -> None:
        """A second run changes nothing, nor does one for other names, or over anything else."""
        self.done("certificate", *self.NAMES)
        before = self.path().read_bytes()
        self.assertIn("nothing to do: /etc/balancer/tls/www.example.org.pem is there, for ",
                      self.done("certificate", *self.NAMES[:2]))
        code, _, err = self.run_words("certificate", self.NAMES[0], "other.example.org")
        self.assertEqual(FAILED, code)
        self.assertIn("expected a certificate for other.example.org, got one for www.exa", err)
        self.assertEqual(before, self.path().read_bytes())
        self.path().write_text("an operator's\n")
        code, _, err = self.run_words("certificate", self.NAMES[0])
        self.assertEqual(FAILED, code)
        self.assertIn("It is never overwritten: move it away", err)
        self.assertEqual("an operator's\n", self.path().read_text())


class DiskTests(SetupTestCase):
    """What is done, step by step."""

    def test_race(self) -> None:
        """A file that came meanwhile is not replaced by one that may not replace it, and nothing
        is left beside it."""
        (self.root / "a").write_text("theirs")
        step = Write("/a", "ours", replaces=False)
        error = self.assertRaises(CannotSetUp, Disk(self.root).do, step)
        self.assertEqual("/a: file exists", str(error))
        self.assertEqual(["a", "etc"], sorted(path.name for path in self.root.iterdir()))
        self.assertEqual("theirs", (self.root / "a").read_text())

    def test_others_stay(self) -> None:
        """A directory with somebody else's files stays."""
        for name in ("ours", "theirs"):
            Disk(self.root).do(Write(f"/d/{name}", ""))
        Disk(self.root).do(Remove("/d/ours"))
        self.assertEqual(["theirs"], [path.name for path in (self.root / "d").iterdir()])

    def test_commands(self) -> None:
        """A command that fails is told with what it said."""
        disk = Disk(self.root)
        error = self.assertRaises(
            CannotSetUp, disk.do, Run((sys.executable, "-c", "raise SystemExit('no bus')")))
        self.assertIn("expected status 0, got 1 (no bus); run it again by hand", str(error))
        error = self.assertRaises(CannotSetUp, disk.do, Run(("/no/such/program",)))
        self.assertEqual("/no/such/program: no such file or directory", str(error))
        disk.do(Run((sys.executable, "-c", "")))

    def test_rights(self) -> None:
        """Who is not root is told to be."""
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")
        self.patch(Path, "read_text", refuse)
        self.assertRaises(NoRights, Disk(self.root).text, "/etc/group")
        code, _, err = self.run_words("kernel")
        self.assertEqual(USAGE, code)
        self.assertIn("expected the rights of root, got none; run it with sudo", err)

    def test_help(self) -> None:
        """Each verb says what it does."""
        text = parser().format_help()
        for verb in ("kernel", "bfd", "certificate", "undo"):
            self.assertIn(verb, text)
