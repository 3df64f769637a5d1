"""A Hugging Face Hub on loopback, which serves one folder as one model."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves ``folder`` as the model ``name``; ``asked`` are the files that were asked for."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.name, self.folder, self.asked = name, folder, list[str]()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        place, hub = self.path.partition("?")[0], self.server
        files = [str(file.relative_to(hub.folder)) for file in hub.folder.rglob("*") if file.is_file()]
        if place in (
            f"/api/models/{hub.name}",
            f"/api/models/{hub.name}/revision/main",
            f"/api/models/{hub.name}/revision/{COMMIT}",
        ):
            siblings = [{"rfilename": file} for file in files]
            return self._send(json.dumps({"id": hub.name, "sha": COMMIT, "siblings": siblings}).encode())
        if place.startswith(f"/api/models/{hub.name}/tree/"):
            tree = [
                {"type": "file", "path": f, "size": (hub.folder / f).stat().st_size, "oid": "0" * 40} for f in files
            ]
            return self._send(json.dumps(tree).encode())
        for revision in ("main", COMMIT):
            file = place.removeprefix(f"/{hub.name}/resolve/{revision}/")
            if file in files:
                hub.asked.append(file)
                return self._send((hub.folder / file).read_bytes())
        self._send(b"{}", 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})

    def _send(self, body: bytes, code: int = 200, more: dict[str, str] | None = None) -> None:
        self.send_response(code)
        tag = hashlib.sha256(body).hexdigest()
        told = {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"', "Content-Length": str(len(body)), **(more or {})}
        for key, value in told.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Hub]:
    hub = Hub(name, folder)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
