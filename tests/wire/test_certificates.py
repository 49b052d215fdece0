"""
Tests of `balancer.wire.certificates` and `pem`.
"""

from __future__ import annotations

import os
import ssl
import sys
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from service_identity.cryptography import verify_certificate_hostname
from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.certificates import CannotLoad, Certificates, load
from tests.wire.certificates import NOW, Authority, Made

LETTERS = st.text("ab", min_size=1, max_size=2)
NAMES = st.builds("{}{}.test".format, st.sampled_from(["", "*."]), LETTERS)


class Case(SynchronousTestCase):
    """A directory, and an authority to fill it."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = Authority()

    def add(self, file: str, *names: str) -> Path:
        """A file for `names` in the directory."""
        return self.authority.issue(*names).save(self.directory / file)

    def problem(self, path: Path) -> str:
        """Why `path` cannot be loaded: one problem."""
        error = self.assertRaises(CannotLoad, load, path)
        self.assertEqual(len(error.problems), 1, error.problems)
        return str(error.problems[0])


class FilesTest(Case):
    """What may be named as certificates."""

    def test_one_file(self) -> None:
        """A file may hold the chain and the key."""
        path = self.add("site.pem", "a.test")
        certificates = load(path)
        self.assertEqual([pair.file for pair in certificates.pairs], [path])
        self.assertEqual(certificates.pairs[0].names, ("a.test",))
        self.assertEqual(certificates.warnings, ())

    def test_key_beside(self) -> None:
        """The key may be in NAME.key beside NAME.crt or NAME.pem."""
        for suffix in (".crt", ".pem"):
            made = self.authority.issue("a.test")
            path = self.directory / f"site{suffix}"
            path.write_bytes(made.chain)
            path.with_suffix(".key").write_bytes(made.key)
            self.assertEqual(load(path).pairs[0].key, path.with_suffix(".key"))

    def test_directory(self) -> None:
        """A directory's files come by name; others than certificates and hidden ones do not."""
        for file in ("b.pem", "a.crt", ".hidden.pem"):
            self.add(file, f"{file.strip('.')}.test")
        (self.directory / "README").write_text("what these are")
        names = [pair.file.name for pair in load(self.directory).pairs]
        self.assertEqual(names, ["a.crt", "b.pem"])

    def test_certbot(self) -> None:
        """A directory of certbot's is one certificate."""
        made = self.authority.issue("a.test")
        (self.directory / "cert.pem").write_bytes(made.chain)
        (self.directory / "chain.pem").write_bytes(self.authority.pem)
        (self.directory / "fullchain.pem").write_bytes(made.chain + self.authority.pem)
        (self.directory / "privkey.pem").write_bytes(made.key)
        [pair] = load(self.directory).pairs
        self.assertEqual((pair.file.name, pair.key.name), ("fullchain.pem", "privkey.pem"))

    def test_key_first(self) -> None:
        """The key may stand before the chain."""
        made = self.authority.issue("a.test")
        path = self.directory / "site.pem"
        path.write_bytes(made.key + b"some words\n" + made.chain + self.authority.pem)
        self.assertEqual(load(path).pairs[0].names, ("a.test",))


class BrokenTest(Case):
    """What is wrong with a file, in words that help."""

    def test_no_certificate(self) -> None:
        """A file without a certificate is told by what it holds."""
        path = self.directory / "site.pem"
        path.write_bytes(self.authority.issue("a.test").key)
        expected = "expected a certificate (BEGIN CERTIFICATE), got PRIVATE KEY"
        self.assertEqual(self.problem(path), f"{path}: {expected}")
        path.write_bytes(b"hello")
        self.assertIn("got no PEM block at all", self.problem(path))

    def test_no_key(self) -> None:
        """A certificate without a key says where one is expected."""
        path = self.directory / "site.pem"
        path.write_bytes(self.authority.issue("a.test").chain)
        self.assertIn(
            "expected a private key in the file or in site.key, got none", self.problem(path)
        )
        path.with_suffix(".key").write_bytes(b"")
        self.assertIn(f"expected a private key in {path.with_suffix('.key')}", self.problem(path))

    def test_other_key(self) -> None:
        """The key of another certificate is refused, with what to do."""
        one, other = self.authority.issue("a.test"), self.authority.issue("a.test")
        path = Made(one.chain, other.key).save(self.directory / "site.pem")
        self.assertIn("expected the key of its first certificate, got another", self.problem(path))
        path.write_bytes(self.authority.pem + one.chain + one.key)
        self.assertIn("put the server's own certificate first", self.problem(path))

    def test_encrypted_key(self) -> None:
        """A key with a passphrase is refused, and nobody is asked for it."""
        made = self.authority.issue("a.test", password=b"secret")
        path = made.save(self.directory / "site.pem")
        self.assertIn("expected a key without a passphrase", self.problem(path))

    def test_unreadable(self) -> None:
        """A missing file is told with what to check."""
        path = self.directory / "none.pem"
        self.assertIn("cannot be read: no such file or directory; check", self.problem(path))

    def test_damaged(self) -> None:
        """A certificate of nonsense is told as damaged."""
        path = self.directory / "site.pem"
        made = self.authority.issue("a.test")
        lines = made.chain.splitlines(keepends=True)
        path.write_bytes(lines[0] + lines[2] + lines[-1] + made.key)
        self.assertIn("got a damaged one", self.problem(path))

    def test_large(self) -> None:
        """A file of megabytes is not read."""
        path = self.directory / "site.pem"
        with path.open("wb") as file:
            os.truncate(file.fileno(), 10 << 20)
        self.assertIn("expected PEM of at most", self.problem(path))

    def test_empty_directory(self) -> None:
        """A directory without certificates says what it looked for."""
        self.assertIn("expected *.pem or *.crt files", self.problem(self.directory))

    def test_all_at_once(self) -> None:
        """Every broken file of a directory is told."""
        self.add("a.pem", "a.test")
        for file in ("b.pem", "c.crt"):
            (self.directory / file).write_bytes(b"")
        error = self.assertRaises(CannotLoad, load, self.directory)
        self.assertEqual(len(error.problems), 2)
        self.assertIn("c.crt", str(error))

    def test_changed_since(self) -> None:
        """A file that breaks after it was loaded is told when the context is made."""
        path = self.add("a.pem", "a.test")
        certificates = load(path)
        path.write_bytes(b"")
        self.assertRaises(CannotLoad, certificates.context)


class WarningsTest(Case):
    """What works, but not as wanted."""

    def test_expired(self) -> None:
        """An expired certificate, or one of the future, is a warning."""
        path = self.add("site.pem", "a.test")
        [late] = load(path, NOW + timedelta(days=3)).warnings
        self.assertIn("site.pem: expired on", late)
        [early] = load(path, NOW - timedelta(days=30)).warnings
        self.assertIn("site.pem: begins on", early)

    def test_same_name(self) -> None:
        """The second file for a name is told that it is not used for it."""
        first = self.add("a.pem", "a.test")
        self.add("b.pem", "b.test", "a.test")
        [warning] = load(self.directory).warnings
        self.assertIn(f"b.pem: not used for a.test, which {first} is for as well", warning)

    def test_no_names(self) -> None:
        """A certificate for nobody, or for names that cannot be, is chosen only as the first."""
        self.add("a.pem")
        self.add("b.pem", "*.*.test")
        none, many = load(self.directory).warnings
        self.assertIn("a.pem: chosen only as the first file: it names no server", none)
        self.assertIn("b.pem: chosen only as the first file: Certificate's DNS-ID", many)


class ChoiceTest(Case):
    """Which certificate a client gets."""

    def certificates(self) -> Certificates:
        """Some of each kind; d.pem is for the same wildcard as c.pem."""
        self.add("a.pem", "default.test")
        self.add("b.pem", "www.example.test", "192.0.2.1", "2001:db8::1")
        self.add("c.pem", "*.example.test", "Example.TEST")
        self.add("d.pem", "*.example.test", "x.www.example.test")
        return load(self.directory)

    def test_choice(self) -> None:
        """Exact before wildcard (one label), the first by default, in any case; addresses too."""
        certificates = self.certificates()
        for name, expected in {
            "www.example.test": "b.pem",
            "WWW.Example.test.": "b.pem",
            "other.example.test": "c.pem",
            "xn--bcher-kva.example.test": "c.pem",
            "example.test": "c.pem",
            "x.www.example.test": "d.pem",
            "y.www.example.test": "a.pem",
            "elsewhere.test": "a.pem",
            "*.example.test": "c.pem",
            ".example.test": "c.pem",
            "": "a.pem",
            "192.0.2.1": "b.pem",
            "2001:db8::1": "b.pem",
            "192.0.2.2": "a.pem",
        }.items():
            self.assertEqual(certificates.explain(name).name, expected, name)

    @settings(deadline=None, database=None, max_examples=15)
    @given(
        st.lists(st.lists(NAMES, max_size=2), min_size=1, max_size=3),
        st.builds("{}.{}.test".format, LETTERS, LETTERS),
    )
    def test_against_service_identity(self, files: list[list[str]], name: str) -> None:
        """What is chosen is valid for the name, if any is, by service_identity's own judgement."""
        directory = Path(self.mktemp())
        directory.mkdir()
        authority = AUTHORITY
        fits = []
        for index, names in enumerate(files):
            names = [n for n in names if n.count(".") > 1 or "*" not in n]
            made = authority.issue(*names)
            made.save(directory / f"{index}.pem")
            leaf = x509.load_pem_x509_certificate(made.chain)
            try:
                verify_certificate_hostname(leaf, name)
            except Exception:  # noqa: BLE001  # its exceptions differ between versions
                continue
            fits.append(index)
        chosen = load(directory).choose(name)
        self.assertIn(chosen, fits or [0])


AUTHORITY = Authority()


class ContextTest(Case):
    """The context of a listener."""

    def test_versions(self) -> None:
        """Nothing older than TLS 1.2, and nothing without forward secrecy."""
        context = load(self.add("a.pem", "a.test")).context()
        self.assertEqual(context.minimum_version, ssl.TLSVersion.TLSv1_2)
        for cipher in context.get_ciphers():
            self.assertIn(cipher["kea"], ("kx-ecdhe", "kx-any"), cipher)
            self.assertTrue(cipher["aead"], cipher)

    def test_hush(self) -> None:
        """Only undecodable names are kept from `sys.unraisablehook`, once for all contexts."""
        self.add("a.pem", "a.test")
        self.add("b.pem", "b.test")
        certificates = load(self.directory)
        told: list[object] = []
        self.patch(sys, "unraisablehook", told.append)
        certificates.context()
        hook = sys.unraisablehook
        certificates.context()
        self.assertIs(sys.unraisablehook, hook)

        class Unraisable:
            exc_value: Exception = UnicodeDecodeError("ascii", b"\xff", 0, 1, "no")
            object = b"\xff"

        hook(Unraisable())  # type: ignore[arg-type]  # the interpreter makes the real ones
        self.assertEqual(told, [])
        other = Unraisable()
        other.exc_value = ValueError()
        hook(other)  # type: ignore[arg-type]  # the interpreter makes the real ones
        self.assertEqual(told, [other])
