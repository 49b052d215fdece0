"""What a balancer answers: a site with little, and one with long names."""

from __future__ import annotations

from typing import Any

NOW = 1000.0
LONG = "a-server-whose-name-goes-on-and-on-for-longer-than-anybody-would-like"
IPV6 = "[2001:db8:85a3:1234:5678:8a2e:370:7334]:65535"


def server(name: str, **more: Any) -> dict[str, Any]:
    """One server of a pool."""
    return {
        "name": name, "key": f"web/{name}", "state": "up", "changed_at": NOW - 125, "weight": 1,
        "in_flight": 0, "requests_total": 0, "failures_total": 0,
        "check": {"last": "up", "reason": "status 200", "seconds": 0.0011, "at": 1.0}, **more,
    }


def site(**more: Any) -> dict[str, Any]:
    """A status with a balancer of each kind."""
    servers = [
        server("a", requests_total=135599, in_flight=3),
        server(
            "b", state="down", changed_at=NOW - 7500, failures_total=1_234_567,
            check={"last": "down", "reason": "connection refused", "seconds": 0.1, "at": 1.0},
        ),
        server("c", state="maint", weight=0, check=None),
    ]
    return {
        "site": {
            "name": "example", "version": "0.1.0", "pid": 4711, "config": "/etc/balancer/site.ini",
            "started": 0.0, "state": "running", "healthy": True,
        },
        "balancers": {
            "http:web": {
                "healthy": True, "listeners": ["127.0.0.1:8080", "[::1]:8080"], "connections": 12,
                "requests_total": 1_234_567,
            },
            "tcp:echo": {
                "healthy": False, "listen": ["127.0.0.1:8081"], "connections": 0,
                "connections_total": 9,
            },
            "udp:echo": {
                "healthy": True, "listen": ["127.0.0.1:8082"], "flows": 2, "flows_total": 5,
            },
            "dns:example.test": {
                "healthy": True, "answers_total": 7,
                "listeners": {"127.0.0.1:8053": {"connections": 1}},
            },
            "demo:a": {
                "healthy": True, "http": ["127.0.0.1:9001"], "tcp": [], "udp": ["127.0.0.1:9021"],
                "connections": 1, "requests_total": 11,
            },
            "new:kind": {"healthy": True},
        },
        "pools": {
            "web": {
                "algorithm": "round-robin", "healthy": True,
                "servers": {each["name"]: each for each in servers}, "leaving": [],
            },
        },
        "now": NOW,
        **more,
    }


def crowded() -> dict[str, Any]:
    """A status in which everything is as long as it gets."""
    status = site()
    status["site"]["config"] = "/" + "very-" * 30 + "deep/site.ini"
    status["balancers"] = {
        f"http:{LONG}": {
            "healthy": True, "listeners": [IPV6] * 2, "connections": 10**9,
            "requests_total": 10**15,
        },
    }
    status["pools"] = {
        LONG * 2: {
            "algorithm": "header:" + "X" * 90, "healthy": False, "panicking": True,
            "queue_length": 10**7,
            "servers": {
                LONG: server(
                    LONG, state="unknown", changed_at=NOW - 10**8, weight=256, in_flight=10**9,
                    requests_total=10**12, failures_total=10**12,
                    check={"last": "down", "reason": f"no route to {IPV6}\n\x1b[2J", "seconds": 9},
                ),
            },
            "leaving": [server("old", changed_at=None, check=None)],
        },
    }
    return status
