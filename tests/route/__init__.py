"""Tests of `balancer.route`."""
