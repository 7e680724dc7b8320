"""Hands on what another server answers."""

import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with urllib.request.urlopen("http://backend:8000/", timeout=5) as answer:
            text = answer.read()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text)


ThreadingHTTPServer(("", 8404), Proxy).serve_forever()
