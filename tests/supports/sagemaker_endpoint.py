"""A SageMaker of a few answers on loopback, for programs that make their own clients."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Endpoint:
    """What is answered, and what was asked.

    Attributes:
        answers: By operation: the response, or a pair of error code and message.
        asked: Operation and request, in order.
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = dict(answers)
        self.asked: list[tuple[str, Any]] = []

    def answer(self, operation: str, request: Any) -> tuple[int, Any]:
        """Return status and body."""
        self.asked.append((operation, request))
        answer = self.answers[operation]
        if isinstance(answer, tuple):
            return 400, {"__type": answer[0], "message": answer[1]}
        return 200, answer


@contextmanager
def serve(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Any]) -> Iterator[Endpoint]:
    """Answer calls of SageMaker in this process while the block runs."""
    endpoint = Endpoint(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            status, body = endpoint.answer(operation, json.loads(self.rfile.read(length)))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", url)
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()
