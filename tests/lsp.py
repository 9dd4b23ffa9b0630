"""A client of the YAML language server, just large enough to ask it what an editor asks."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from pathlib import Path
from typing import Any

WAIT_S = 60.0


class Server:
    """The language server in a process of its own, spoken to over standard input and output."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.process = subprocess.Popen(
            ["node", str(program), "--stdio"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.diagnostics: dict[str, list[dict[str, Any]]] = {}
        self.number = 0
        threading.Thread(target=self._read, daemon=True).start()
        self.ask(
            "initialize",
            processId=None,
            rootUri=folder.as_uri(),
            capabilities={
                "textDocument": {
                    "completion": {
                        "completionItem": {
                            "snippetSupport": True,
                            "documentationFormat": ["markdown", "plaintext"],
                        }
                    },
                    "hover": {"contentFormat": ["markdown", "plaintext"]},
                    "publishDiagnostics": {},
                }
            },
        )
        self.tell("initialized")
        options = {"validate": True, "hover": True, "completion": True}
        store = {"schemaStore": {"enable": False}}
        self.settings = {"yaml": {**options, **store}}
        self.tell("workspace/didChangeConfiguration", settings=self.settings)

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while True:
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if not length:
                return
            self._take(json.loads(stream.read(length)))

    def _take(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method == "textDocument/publishDiagnostics":
            found = message["params"]
            self.diagnostics[found["uri"]] = found["diagnostics"]
            self.answers.put(message)
        elif method is not None and "id" in message:  # the server asks, for settings as a rule
            items = message.get("params", {}).get("items", [])
            result = [self.settings.get(item.get("section", "")) for item in items]
            reply = result if method == "workspace/configuration" else None
            self._send({"id": message["id"], "result": reply})
        elif method is None:
            self.answers.put(message)

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def tell(self, method: str, **params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def ask(self, method: str, **params: Any) -> Any:
        """Send a request and return the result."""
        self.number += 1
        self._send({"id": self.number, "method": method, "params": params})
        while True:
            message = self.answers.get(timeout=WAIT_S)
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    def problems(self, path: Path, text: str) -> list[dict[str, Any]]:
        """Open a document and return its diagnostics."""
        uri = path.as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.diagnostics.pop(uri, None)
        self.tell("textDocument/didOpen", textDocument=document)
        while uri not in self.diagnostics:
            self.answers.get(timeout=WAIT_S)
        return self.diagnostics[uri]

    def at(self, method: str, path: Path, line: int, column: int) -> Any:
        """Ask about a place of an open document; line and column count from 0."""
        where = {"line": line, "character": column}
        return self.ask(method, textDocument={"uri": path.as_uri()}, position=where)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
