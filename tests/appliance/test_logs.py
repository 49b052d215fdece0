"""
Access logs that logrotate moves away while requests come.
"""

from __future__ import annotations

from tests.appliance.machine import ApplianceTestCase

SITE = """\
[site]
control = /run/balancer/lb.sock
state = /var/lib/balancer
[http front]
listen = 0.0.0.0:80
routes = -> respond 200 yes
access-log = /var/log/balancer/access.log
"""

REQUESTS, CLIENTS, ROTATIONS = 10000, 2, 8

SCRIPT = f"""
clients=""
for client in $(seq {CLIENTS}); do
    curl -sf "http://127.0.0.1/$client/[1-{REQUESTS}]" >/tmp/$client & clients="$clients $!"
done
for turn in $(seq {ROTATIONS}); do
    sleep 0.3; logrotate --force /etc/logrotate.d/balancer
done
wait $clients
sleep 0.5
"""


class LogTests(ApplianceTestCase):
    """A machine with an access log where Debian has them."""

    def test_rotated_under_load(self) -> None:
        """Each request is one line of one of the files, the new file is the service's, and those
        before the last are compressed."""
        self.does("dpkg -i /debs/balancer.deb")
        self.write("/etc/balancer/site.ini", SITE)
        self.does("systemctl reload balancer.service")
        self.does(SCRIPT)
        logs = "/var/log/balancer/access.log"
        files = self.does(f"ls {logs}*").split()
        self.assertIn(f"{logs}.1", files)
        self.assertEqual([each for each in files if each.endswith(".gz")],
                         [f"{logs}.{number}.gz" for number in range(2, len(files))])
        self.assertGreater(len(files), 3)
        lines = self.does(f"zcat -f {logs}*").splitlines()
        asked = {f"/{client}/{number}" for client in range(1, CLIENTS + 1)
                 for number in range(1, REQUESTS + 1)}
        paths = [line.split('"')[1].split()[1] for line in lines]
        self.assertEqual(len(paths), len(asked))
        self.assertEqual(set(paths), asked)
        self.assertEqual(self.does(f"stat -c %U:%G {logs}").strip(), "balancer:balancer")
        self.assertGreater(int(self.does(f"zcat -f {logs}.1 {logs}.2.gz | wc -l")), 0)

    def test_not_running(self) -> None:
        """Where the service does not run, logs are rotated all the same."""
        self.does("dpkg -i /debs/balancer.deb && systemctl stop balancer.service && "
                  "echo x >/var/log/balancer/a.log && chown balancer: /var/log/balancer/a.log && "
                  "logrotate --force /etc/logrotate.d/balancer")
        self.assertEqual(self.does("ls /var/log/balancer").split(), ["a.log.1"])
