"""Tests of `balancer.route.anycast`."""
