"""Settings of all tests."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a busy machine; the same examples every time do.
settings.register_profile(
    "f2yaml",
    deadline=None,
    derandomize=True,
    max_examples=100 if os.environ.get("F2YAML_TESTS") == "all" else 30,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("f2yaml")

# Processes in the background of a shell ignore Ctrl-C, under nohup a lost terminal as well; and so
# do those that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
