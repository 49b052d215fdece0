"""Tests of the room `lbctl`."""
