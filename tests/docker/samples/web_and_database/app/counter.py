"""Counts its visitors, and remembers them in a database."""

import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = os.environ["DATABASE_HOST"], int(os.environ["DATABASE_PORT"])


class Counter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with socket.create_connection(ADDRESS, timeout=5) as database:
            database.sendall(b"INCR visitors\r\n")
            number = database.recv(100).decode().strip().removeprefix(":")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"visitor {number}\n".encode())


ThreadingHTTPServer(("", 8000), Counter).serve_forever()
