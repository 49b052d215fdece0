"""Tests of the room `pool`."""
