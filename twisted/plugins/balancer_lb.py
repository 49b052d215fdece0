"""
What this distribution adds to Twisted's plugins: the command `twistd lb`, and one line for each
kind of balancer and each check. Nothing heavy is imported here: every `twistd` reads this file.
"""

from twisted.application.service import ServiceMaker

from balancer.plugins import LazyBalancerMaker, LazyCheckMaker

lb = ServiceMaker("balancer", "balancer.tap", "Balance load as a site file says.", "lb")

http = LazyBalancerMaker("balancer.http.maker.maker", kind="http")
tcp = LazyBalancerMaker("balancer.relay.maker.tcp", kind="tcp")
udp = LazyBalancerMaker("balancer.relay.maker.udp", kind="udp")
dns = LazyBalancerMaker("balancer.dns.maker.dns", kind="dns")
place = LazyBalancerMaker("balancer.dns.maker.place", kind="place")
subdomains = LazyBalancerMaker("balancer.subdomains.maker.maker", kind="subdomains")
ecmp = LazyBalancerMaker("balancer.route.maker.maker", kind="ecmp")
anycast = LazyBalancerMaker("balancer.route.anycast.maker.maker", kind="anycast")
demo = LazyBalancerMaker("balancer.demo.maker.maker", kind="demo")

check_tcp = LazyCheckMaker("balancer.check.makers.tcp", name="tcp")
check_udp = LazyCheckMaker("balancer.check.makers.udp", name="udp")
check_exec = LazyCheckMaker("balancer.check.makers.exec_", name="exec")
check_dns = LazyCheckMaker("balancer.dns.check.dns", name="dns")
check_http = LazyCheckMaker("balancer.http.check.http", name="http")
check_https = LazyCheckMaker("balancer.http.check.https", name="https")
