"""Tests of the lab: what it is made of, as data. That it works is tested in tests/live."""
