"""
`lbctl`: reads the command line, asks the balancer, prints what it says.

Exit codes: 0 done, 1 failed (the reason is on standard error), 2 bad usage.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from balancer.lbctl import arguments
from balancer.lbctl.connection import Connection, Dial, Failed, Refused, dial, reach
from balancer.lbctl.table import WIDTH
from balancer.lbctl.views import VIEWS, event_lines, is_sound
from balancer.lbctl.words import plain, printable

if TYPE_CHECKING:
    from typing import Any

DONE = 0
FAILED = 1
INTERRUPTED = 130
"""As a shell calls a command that ended at SIGINT."""


def main(words: Sequence[str] | None = None, dial: Dial = dial) -> int:
    """Run the command line `words` (the process's own). Returns the exit code, or exits with 2."""
    found = arguments.read(sys.argv[1:] if words is None else words)
    if found.version:
        from balancer import __version__

        print(f"lbctl {__version__}")
        return DONE
    try:
        return _run(found, dial)
    except Failed as failed:
        _show_failure(failed, as_json=found.json)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough (`lbctl events | head`). Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(found: Any, dial: Dial) -> int:
    later = arguments.not_built(found)
    if later:
        raise Failed(f"{later}: not in this version")
    request = arguments.request(found)
    connection = _reach(found, dial)
    try:
        if request.get("follow"):
            return _follow(connection, request, as_json=found.json)
        result = _ask(connection, request)
    finally:
        connection.close()
    lines = _as_json(result) if found.json else VIEWS[found.verb](request, result, _width())
    _print(lines)
    sound = found.verb not in ("check", "plan", "reload") or is_sound(result)
    return DONE if sound else FAILED


def _reach(found: Any, dial: Dial) -> Connection:
    try:
        return reach(found.control, dial)
    except Failed as failed:
        if found.verb != "check":
            raise
        alone = f"twistd lb --config {found.file} --check"
        raise Failed(f"{failed}\n'{alone}' needs none") from None


def _follow(connection: Connection, request: Mapping[str, Any], *, as_json: bool) -> int:
    """Print events until something ends it."""
    for event in connection.stream(request):
        _print(_as_json(event) if as_json else event_lines(event, _width()))
    return DONE


def _ask(connection: Connection, request: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return connection.ask(request)
    except Refused as refused:
        if "server" in request and "did you mean" not in str(refused):
            hint = _meant(connection, str(request["server"]))
            if hint:
                answer = {**refused.answer, "error": f"{refused}; {hint}"}
                raise Refused(answer) from None
        raise


def _meant(connection: Connection, server: str) -> str:
    """Which servers there are, for one that there is not; '' if there is."""
    try:
        pools = connection.ask({"verb": "status"}).get("pools") or {}
    except Failed:
        return ""
    known = [f"{pool}/{name}" for pool, each in pools.items() for name in each.get("servers") or ()]
    if server in known or server == "site":
        return ""
    same = [each for each in known if each.endswith("/" + server)]
    near = same or get_close_matches(server[:512], known, n=1)
    return f"did you mean {near[0]!r}?" if near else "'lbctl status' shows the servers"


def _show_failure(failed: Failed, *, as_json: bool) -> None:
    """On standard error; with --json also as JSON where the result would be."""
    problems = failed.problems if isinstance(failed, Refused) else ()
    if as_json:
        answer = failed.answer if isinstance(failed, Refused) else {}
        _print(_as_json({"ok": False, "error": str(failed), "problems": [], **answer}))
    lines = f"lbctl: {failed}".splitlines()
    _print(map(plain, [*problems, *lines]), sys.stderr)


def _as_json(result: Mapping[str, Any]) -> list[str]:
    return [json.dumps(result)]


def _print(lines: Iterable[str], file: Any = None) -> None:
    file = sys.stdout if file is None else file
    encoding = getattr(file, "encoding", None) or "utf-8"
    for line in lines:
        file.write(printable(line, encoding) + "\n")
    file.flush()


def _width() -> int:
    """Columns to fill: those of a terminal, but no fewer than a table is made for."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(WIDTH, shutil.get_terminal_size().columns)
