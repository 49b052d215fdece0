"""
Completion of lbctl and balancer-setup in real shells, beside a running balancer.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time

from balancer.lbctl import arguments
from balancer.setup import command as setup
from tests.live.harness import (
    LOOPBACK,
    ROOT,
    LiveTestCase,
    free_port,
    need,
    search_path,
    wait_until,
)
from tests.parsers import verbs

BASH = ROOT / "completion" / "lbctl.bash"
ZSH = ROOT / "completion" / "_lbctl"
SETUP_BASH = ROOT / "completion" / "balancer-setup.bash"
SETUP_ZSH = ROOT / "completion" / "_balancer-setup"

SITE = """
[site]
admin = off
[pool web]
servers =
    alpha 127.0.0.1:1
    beta 127.0.0.1:2
check = none
[pool mail]
servers = gamma 127.0.0.1:3
check = none
[tcp echo]
listen = $host:$one
pool = web
[tcp mail]
listen = $host:$two
pool = mail
"""


class CompletionTestCase(LiveTestCase):
    """A directory with `lbctl` in it."""

    def setUp(self) -> None:
        """lbctl, as it is installed."""
        super().setUp()
        need("bash", "timeout", "sed", "grep")
        script = self.directory / "lbctl"
        script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m balancer.lbctl '
                          '"$@"\n')
        script.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{self.directory}:{search_path()}"}

    def run_site(self) -> None:
        """A balancer in the same directory."""
        self.balancer(SITE, host=LOOPBACK, one=free_port(), two=free_port())
        wait_until("it can be asked", (self.directory / "run" / "lb.sock").exists)

    def bash(self, line: str) -> list[str]:
        """What Bash offers for the last word of the line; '' if that ends with a blank."""
        words = line.split(" ")
        quoted = " ".join(map(shlex.quote, words))
        file = ROOT / "completion" / f"{words[0]}.bash"
        function = f"_{words[0].replace('-', '_')}"
        script = (f"source {file}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; {function}; "
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True,
                              timeout=20, cwd=self.directory, env=self.environment, check=False)
        self.assertEqual("", done.stderr)
        return [each for each in done.stdout.splitlines() if each]

    def offers(self, line: str, wanted: list[str]) -> None:
        """Bash offers these words, in any order; a busy machine may need some attempts, since the
        balancer is given two seconds."""
        found: list[str] = []

        def offered() -> bool:
            found[:] = sorted(self.bash(line))
            return found == sorted(wanted)

        try:
            wait_until(f"{line!r} offers {wanted}", offered)
        except AssertionError as error:
            raise AssertionError(f"{error}; it offers {found}") from None


class WordTests(CompletionTestCase):
    """Words against the parser's."""

    def test_verbs(self) -> None:
        """Bash offers the parser's verbs that are built, and no others; so does zsh, with the
        parser's own words on each."""
        known = [words[0] for words in verbs(arguments.parser()) if len(words) == 1]
        built = [verb for verb in known if verb not in arguments.NOT_BUILT]
        self.assertEqual(built, self.bash("lbctl "))
        told = re.findall(r"^ +'([a-z]+):(.*)'$", ZSH.read_text(), re.MULTILINE)
        self.assertEqual(built, [verb for verb, _ in told])
        helps = arguments.parser().format_help()
        for verb, text in told:
            self.assertIn(f"{verb} {text}", " ".join(helps.split()))

    def test_kinds(self) -> None:
        """Both offer the kinds of `explain`."""
        kinds = [words[1] for words in verbs(arguments.parser()) if words[:1] == ("explain",)
                 and len(words) == 2]
        self.assertEqual(kinds, self.bash("lbctl explain "))
        self.assertIn(f"'2:kind:({' '.join(kinds)})'", ZSH.read_text())

    def test_options(self) -> None:
        """Bash offers exactly the options of each verb; zsh knows all of them."""
        for words, options in verbs(arguments.parser()).items():
            if words and words[0] in arguments.NOT_BUILT:
                continue
            if words == ("explain",):
                options = options - {"--from"}
            self.assertEqual(options, set(self.bash(" ".join(("lbctl", *words, "-")))), words)
            for option in options:
                self.assertRegex(ZSH.read_text(), rf"(?<![\w-]){option}(?![\w-])")

    def test_setup(self) -> None:
        """Bash offers balancer-setup's verbs and exactly its options; zsh knows all of them."""
        self.assertEqual(["kernel", "bfd", "certificate", "undo"], self.bash("balancer-setup "))
        self.assertEqual(["bfd"], self.bash("balancer-setup undo b"))
        self.assertEqual([], self.bash("balancer-setup bfd "))
        for words, options in verbs(setup.parser()).items():
            self.assertEqual(options, set(self.bash(" ".join(("balancer-setup", *words, "-")))))
            for word in (*words, *options):
                self.assertRegex(SETUP_ZSH.read_text(), rf"(?<![\w-]){word}(?![\w-])")


class NameTests(CompletionTestCase):
    """Names of the running site."""

    def test_servers(self) -> None:
        """Servers and balancers are those of the running site."""
        self.run_site()
        for line, offered in {
            "lbctl drain ": ["site", "web/alpha", "web/beta", "mail/gamma"],
            "lbctl ready w": ["web/alpha", "web/beta"],
            "lbctl maint web/b": ["web/beta"],
            "lbctl --json weight m": ["mail/gamma"],
            "lbctl weight web/alpha ": [],
            "lbctl explain tcp ": ["echo", "mail"],
            "lbctl explain udp ": [],
            "lbctl explain dns www.example.org C": ["CAA", "CNAME"],
            "lbctl --control run/lb.sock ready mail": ["mail/gamma"],
            "lbctl --control nothing ready mail": [],
            "lbctl re": ["reload", "ready"],
        }.items():
            self.offers(line, offered)

    def test_nobody_there(self) -> None:
        """Without a balancer nothing is offered, and nothing is said."""
        self.assertEqual([], self.bash("lbctl ready "))
        self.assertEqual(["site"], self.bash("lbctl drain "))

    def test_silence(self) -> None:
        """A balancer that does not answer holds the shell up for some two seconds."""
        (self.directory / "run").mkdir()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(self.directory / "run" / "lb.sock"))
            silent.listen()
            began = time.monotonic()
            self.assertEqual([], self.bash("lbctl ready "))
            self.assertLess(time.monotonic() - began, 8.0)

    def test_hostile(self) -> None:
        """What a stranger's socket calls a server is no command and no word of it."""
        (self.directory / "run").mkdir()
        names = ("ok", "$(touch harm)", "`touch harm`", "a b", ";x", "\n-x")
        servers: dict[str, object] = {name: {} for name in names}
        answer = {"ok": True, "result": {"pools": {"p": {"servers": servers}}, "balancers": {}}}
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.bind(str(self.directory / "run" / "lb.sock"))
            stranger.listen()

            def serve() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        with stranger.accept()[0] as client:
                            client.recv(1000)
                            client.sendall(json.dumps(answer).encode() + b"\n")

            threading.Thread(target=serve, daemon=True).start()
            self.offers("lbctl ready ", ["p/ok"])
        self.assertFalse((self.directory / "harm").exists())

    def test_files(self) -> None:
        """`check` and `plan` take files, and so does `--control`."""
        for name in ("site.ini", "site two.ini", "other"):
            (self.directory / name).touch()
        for line in ("lbctl check site", "lbctl plan site", "lbctl --control site"):
            self.assertEqual({"site.ini", "site two.ini"}, set(self.bash(line)), line)


class ZshTests(CompletionTestCase):
    """A zsh at a terminal."""

    def test_syntax(self) -> None:
        """zsh reads the file."""
        need("zsh")
        for command in (["zsh", "-n", str(ZSH)], ["zsh", "-n", str(SETUP_ZSH)],
                        ["bash", "-n", str(BASH)], ["bash", "-n", str(SETUP_BASH)]):
            done = subprocess.run(command, capture_output=True, timeout=10, check=False)
            self.assertEqual((0, b""), (done.returncode, done.stderr))

    def completes(self, line: str, wanted: str) -> None:
        """The line becomes what is wanted, at the second or third attempt on a busy machine, since
        the balancer is given two seconds."""
        came = [self.complete(line)]
        while wanted not in came and len(came) < 3:
            came.append(self.complete(line))
        self.assertIn(wanted, came)

    def complete(self, line: str) -> str:
        """What the line becomes by a tab, as the shell itself takes it."""
        out = self.directory / "line"
        out.unlink(missing_ok=True)
        # A widget of ours writes the line down: what a terminal shows is full of cursor movements.
        (self.directory / ".zshrc").write_text(
            f"fpath=({ZSH.parent} $fpath)\nautoload -Uz compinit\n"
            f"compinit -u -d {self.directory}/dump\n"
            f"note() {{ print -r -- \"$BUFFER\" > {out} }}\nzle -N note\nbindkey '^X' note\n"
            f"print READY\n")
        pid, terminal = os.forkpty()
        if pid == 0:
            os.chdir(self.directory)
            os.execvpe("zsh", ["zsh", "-i"], {**self.environment, "TERM": "dumb",
                                             "ZDOTDIR": str(self.directory)})
        try:
            self.read_until(terminal, b"READY\r\n")
            os.write(terminal, line.encode() + b"\t\x18")
            wait_until(f"{line} is completed", lambda: out.exists() and bool(out.read_text()))
            return out.read_text().rstrip("\n")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(terminal)

    def read_until(self, terminal: int, what: bytes) -> None:
        """Read what the shell prints until `what`."""
        said = b""
        while what not in said:
            ready, _, _ = select.select([terminal], [], [], 20)
            self.assertTrue(ready, said)
            said += os.read(terminal, 4096)

    def test_completes(self) -> None:
        """Verbs, options, servers, balancers and kinds are completed."""
        need("zsh")
        self.run_site()
        for line, wanted in {
            "lbctl dra": "lbctl drain ",
            "lbctl ready mail": "lbctl ready mail/gamma ",
            "lbctl --json drain web/b": "lbctl --json drain web/beta ",
            "lbctl events --fol": "lbctl events --follow ",
            "lbctl explain subd": "lbctl explain subdomains ",
            "lbctl explain tcp ec": "lbctl explain tcp echo ",
            "lbctl check sit": "lbctl check site.ini ",
        }.items():
            self.completes(line, wanted)

    def test_completes_setup(self) -> None:
        """So are those of balancer-setup."""
        need("zsh")
        for line, wanted in {
            "balancer-setup undo ker": "balancer-setup undo kernel ",
            "balancer-setup --dry-run cert": "balancer-setup --dry-run certificate ",
            "balancer-setup bfd ::1 --tim": "balancer-setup bfd ::1 --timers ",
        }.items():
            self.completes(line, wanted)
