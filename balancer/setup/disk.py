"""
The machine's files, perhaps beneath another root: read, written whole, removed. Commands run on the
machine itself only.
"""

from __future__ import annotations

import grp
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE

from attrs import frozen

from balancer.setup.steps import CannotSetUp, Directory, Edit, Remove, Run, Step, Write

COMMAND_WITHIN = 60.0
"""Seconds that a command may take; systemctl waits for a service to start."""


class NoRights(CannotSetUp):
    """Only root may do that."""


@frozen
class Disk:
    """The file system beneath `root`."""

    root: Path

    @property
    def booted(self) -> bool:
        """Whether systemd runs this machine (sd_booted(3)); beneath another root it never does."""
        return self.root == Path("/") and Path("/run/systemd/system").is_dir()

    def at(self, path: str) -> Path:
        """The file that is `path` beneath the root. Raises `CannotSetUp` if a link leads out of
        there: what it means is known to that root's machine alone, and ours is not to change."""
        found = self.root / path.lstrip("/")
        real = os.path.realpath(found)
        if not Path(real).is_relative_to(os.path.realpath(self.root)):
            msg = f"{path}: expected a file beneath {self.root}, got a link to {real}"
            raise CannotSetUp(f"{msg}; make the link relative, or run this on the machine itself")
        return found

    def text(self, path: str) -> str | None:
        """What the file holds, None if there is none. Raises `CannotSetUp`."""
        try:
            return self.at(path).read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise _failed(f"{path}: cannot be read", error) from None

    def exists(self, path: str) -> bool:
        """Whether there is anything of that name. Raises `CannotSetUp`."""
        try:
            return self.at(path).exists()
        except OSError as error:
            raise _failed(f"{path}: cannot be looked at", error) from None

    def gid(self, group: str) -> int:
        """The number of a group, as the root's own files know it. Raises `CannotSetUp`."""
        if self.root != Path("/"):
            for line in (self.text("/etc/group") or "").splitlines():
                fields = line.split(":")
                if fields[0] == group and len(fields) > 2 and fields[2].isdigit():
                    return int(fields[2])
        else:
            with suppress(KeyError):
                return grp.getgrnam(group).gr_gid
        msg = f"expected the group {group!r}, got none; the balancer's package makes it, or name"
        raise CannotSetUp(f"{msg} another with --group")

    def do(self, step: Step) -> None:
        """Raises `CannotSetUp`, and then this step has changed nothing."""
        try:
            match step:
                case Write():
                    self._write(step)
                case Edit(path, text):
                    self._edit(self.at(path).resolve(), text)
                case Remove(path):
                    self._remove(self.at(path))
                case Directory(path, mode, group):
                    self._make(self.at(path), mode, group)
                case Run(words):
                    _run(words)
        except OSError as error:
            where = " ".join(step.words) if isinstance(step, Run) else step.path
            raise _failed(where, error) from None

    def _write(self, step: Write) -> None:
        """Beside it first: whoever reads sees the old file or the new one, never a half."""
        path = self.at(step.path)
        gid = self.gid(step.group) if step.group else -1
        path.parent.mkdir(0o755, parents=True, exist_ok=True)
        with _beside(path, step.text, step.mode, -1, gid) as name:
            if step.replaces:
                os.replace(name, path)
            else:
                os.link(name, path)

    def _edit(self, path: Path, text: str) -> None:
        was = path.stat()
        with _beside(path, text, S_IMODE(was.st_mode), was.st_uid, was.st_gid) as name:
            os.replace(name, path)

    def _make(self, path: Path, mode: int, group: str) -> None:
        gid = self.gid(group) if group else -1
        path.parent.mkdir(0o755, parents=True, exist_ok=True)
        path.mkdir(0o700)
        os.chown(path, -1, gid)
        path.chmod(mode)

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty: somebody else's files are in it
            path.parent.rmdir()


@contextmanager
def _beside(path: Path, text: str, mode: int, uid: int, gid: int) -> Iterator[str]:
    """The name of a file beside `path` that holds `text`, for as long as it is not renamed."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fchown(handle, uid, gid)
            os.fchmod(handle, mode)
            os.fsync(handle)
        yield name
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _run(words: tuple[str, ...]) -> None:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=COMMAND_WITHIN, check=False
        )
    except subprocess.TimeoutExpired:
        msg = f"{' '.join(words)}: expected an end within {COMMAND_WITHIN:.0f} s, got none"
        raise CannotSetUp(f"{msg}; run it by hand") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or "without a word"
        msg = f"{' '.join(words)}: expected status 0, got {done.returncode} ({said})"
        raise CannotSetUp(f"{msg}; run it again by hand")


def _failed(where: str, error: Exception) -> CannotSetUp:
    if isinstance(error, PermissionError):
        return NoRights(f"{where}: expected the rights of root, got none; run it with sudo")
    reason = getattr(error, "strerror", None) or str(error)
    return CannotSetUp(f"{where}: {reason.lower()}")
