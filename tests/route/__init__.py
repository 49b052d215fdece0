"""Tests of the room `route`."""
