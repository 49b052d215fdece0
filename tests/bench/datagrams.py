"""
UDP for the comparison: an echo, and a load that keeps a fixed number of datagrams in flight.

`python -m tests.bench.datagrams PORT` echoes for ever;
`python -m tests.bench.datagrams PORT SECONDS` sends to PORT and prints how many came back and how
many were lost.
"""

from __future__ import annotations

import select
import socket
import sys
import time

HOST = "127.0.0.1"
FLOWS = 32
IN_FLIGHT = 4
"""Datagrams of one flow that are on their way at any time."""

PAYLOAD = b"x" * 64
REFILL = 0.2
"""Seconds of silence after which what is missing counts as lost, and is sent anew."""


def echo(port: int) -> None:
    """Send every datagram back to where it came from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as origin:
        origin.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        origin.bind((HOST, port))
        receive, send = origin.recvfrom, origin.sendto
        while True:
            send(*receive(2048))


class Load:
    """Flows, each a connected socket with `IN_FLIGHT` datagrams on their way."""

    def __init__(self, port: int) -> None:
        self._poll = select.epoll()
        self._flows: dict[int, socket.socket] = {}
        self._missing: dict[int, int] = {}
        self.received = self.lost = 0
        for _ in range(FLOWS):
            flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            flow.setblocking(False)
            flow.connect((HOST, port))
            self._flows[flow.fileno()] = flow
            self._missing[flow.fileno()] = 0
            self._poll.register(flow, select.EPOLLIN)

    def _fill(self, number: int) -> None:
        """Put as many on their way as are missing."""
        for _ in range(IN_FLIGHT - self._missing[number]):
            self._flows[number].send(PAYLOAD)
            self._missing[number] += 1

    def _take(self, number: int) -> None:
        """Count what came back on a flow, and send as many again."""
        try:
            while True:
                self._flows[number].recv(2048)
                self.received += 1
                self._missing[number] -= 1
        except BlockingIOError:
            self._fill(number)

    def run(self, seconds: float) -> None:
        """Load for that long."""
        end = time.monotonic() + seconds
        for number in self._flows:
            self._fill(number)
        while (left := end - time.monotonic()) > 0:
            ready = self._poll.poll(min(left, REFILL))
            for number, _ in ready:
                self._take(number)
            if not ready and left > REFILL:
                self._refill()

    def _refill(self) -> None:
        """Nothing came for a while: what is missing is lost."""
        for number, missing in self._missing.items():
            self.lost += missing
            self._missing[number] = 0
            self._fill(number)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        echo(int(sys.argv[1]))
    load = Load(int(sys.argv[1]))
    load.run(float(sys.argv[2]))
    print(load.received, load.lost)
