"""Simulated raw nights with known truth."""
