"""The program and the simulated night of the tests of the command line."""

from cli.conftest import desk, f2yaml, tiny

__all__ = ["desk", "f2yaml", "tiny"]
