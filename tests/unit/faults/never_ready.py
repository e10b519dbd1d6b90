"""Stands for a process that starts and never becomes ready: ``python -m tests.unit.faults.never_ready``."""

import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

REASON = "the topics belong to another log"


class NeverReady(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(503)
        self.end_headers()
        self.wfile.write(json.dumps({"status": REASON}).encode())

    do_PUT = do_GET


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ["HEALTH_PORT"])), NeverReady).serve_forever()
