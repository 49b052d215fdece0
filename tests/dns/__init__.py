"""Tests of balancer.dns."""
