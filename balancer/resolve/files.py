"""
The hosts file and resolv.conf as they are now: read again when they have changed.

Knows files; what they mean is in `conf`.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve, field
from twisted.logger import Logger

from balancer.resolve.conf import MAX_FILE, Conf, Hosts, read_conf, read_hosts
from balancer.wire.stamps import Stamps, stamps
from balancer.wire.statefile import load

HOSTS = "/etc/hosts"
RESOLV_CONF = "/etc/resolv.conf"


@define(eq=False)
class Files:
    """`hosts` and `conf`, made of files. One that is not there or cannot be read is empty."""

    hosts_path: str = HOSTS
    conf_path: str = RESOLV_CONF
    hosts: Hosts = field(factory=dict, init=False)
    conf: Conf = field(factory=Conf, init=False)
    _servers: tuple[tuple[str, int], ...] = field(default=(), init=False)
    _seen: tuple[Stamps, Stamps] | None = field(default=None, init=False)
    _other: bool = field(default=False, init=False)
    _log = Logger()

    def use(self, servers: Sequence[tuple[str, int]]) -> None:
        """Ask these instead of those of resolv.conf; none: those of resolv.conf."""
        if tuple(servers) != self._servers:
            self._servers = tuple(servers)
            self._other = True

    def changed(self) -> bool:
        """Look at the files; whether `hosts` or `conf` may differ since the last call."""
        before, other = self._seen, self._other
        self._seen, self._other = (stamps([self.hosts_path]), stamps([self.conf_path])), False
        if before is None or self._seen[0] != before[0]:
            self.hosts = read_hosts(self._text(self.hosts_path))
        if before is None or self._seen[1] != before[1] or other:
            conf = read_conf(self._text(self.conf_path))
            self.conf = evolve(conf, servers=self._servers) if self._servers else conf
        return other or self._seen != before

    def _text(self, path: str) -> str:
        try:
            return (load(path, MAX_FILE) or b"").decode("utf-8", "replace")
        except OSError as error:
            self._log.warn("{path} is not used: {reason}", path=path, reason=error)
            return ""
