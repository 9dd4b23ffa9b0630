"""Headless Chromium, spoken to over a pipe by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage",
    "--force-device-scale-factor=1", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


def program() -> str | None:
    """Return the browser, None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """A tab: what it said, what it asked of the network, and means to look and to press."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session
        self.console: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> Any:
        return self.browser.send(method, params, self)

    def heard(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(str(details.get("exception", {}).get("description", details)))
        elif method == "Runtime.consoleAPICalled":
            self.console.append(str([a.get("value", a) for a in params["args"]]))
        elif method == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def run(self, code: str) -> Any:
        """Return the value of an expression; a promise is waited for."""
        made = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in made, made
        return made["result"].get("value")

    def until(self, code: str, seconds: float = 60.0) -> None:
        """Wait until an expression holds."""
        limit = time.monotonic() + seconds
        while not self.run(code):
            assert time.monotonic() < limit, f"{code} does not hold; the page said {self.console}"
            time.sleep(0.05)

    def open(self, path: Path, *, wide: int = 1280, high: int = 900, dark: bool = False) -> None:
        """Load a page of given size, wait until its first viewer is ready."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=wide, height=high, deviceScaleFactor=1, mobile=wide < 500,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.until("document.readyState === 'complete'")
        self.until("document.querySelector('.viewer').dataset.ready === 'yes'")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def press(self, key: str) -> None:
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self, path: Path, **options: Any) -> Path:
        """Save what is to be seen as PNG."""
        made = self.send("Page.captureScreenshot", format="png", **options)
        path.write_bytes(base64.b64decode(made["data"]))
        return path


class Browser:
    """A browser that is running."""

    def __init__(self, process: subprocess.Popen[bytes], reads: int, writes: int) -> None:
        self.process, self._reads, self._writes = process, reads, writes
        self._number = 0
        self._left = b""
        self._pages: dict[str, Page] = {}

    def page(self) -> Page:
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        given = {"targetId": target, "flatten": True}
        session = self.send("Target.attachToTarget", given)["sessionId"]
        self._pages[session] = page = Page.__new__(Page)
        Page.__init__(page, self, session)
        return page

    def send(self, method: str, params: dict[str, Any], page: Page | None = None) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if page is not None:
            message["sessionId"] = page.session
        sent = json.dumps(message).encode() + b"\0"
        while sent:
            sent = sent[os.write(self._writes, sent) :]
        while True:
            answer = self._next(60.0)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            told = self._pages.get(answer.get("sessionId", ""))
            if told is not None and "method" in answer:
                told.heard(answer["method"], answer["params"])

    def _next(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._reads], [], [], seconds)
            assert ready, "the browser does not answer"
            got = os.read(self._reads, 1 << 20)
            assert got, "the browser has ended"
            self._left += got
        text, _, self._left = self._left.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start the browser with an empty profile; it is ended with the block."""
    found = program()
    assert found is not None
    to_read, to_write = os.pipe(), os.pipe()  # the browser reads the first, writes the second
    words = [found, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    redirected = f'exec "$@" 3<&{to_read[0]} 4>&{to_write[1]}'
    with subprocess.Popen(
        ["bash", "-c", redirected, "bash", *words],
        pass_fds=(to_read[0], to_write[1]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    ) as process:
        os.close(to_read[0])
        os.close(to_write[1])
        running = Browser(process, to_write[0], to_read[1])
        try:
            yield running
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            os.close(to_write[0])
            os.close(to_read[1])
