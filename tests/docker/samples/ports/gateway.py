"""Says on each of some TCP ports which one it is, and echoes on UDP port 53."""

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Gateway(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        assert isinstance(self.server, HTTPServer)
        self.wfile.write(f"port {self.server.server_port}\n".encode())


udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", 53))
for port in sys.argv[1:]:
    server = HTTPServer(("", int(port)), Gateway)
    threading.Thread(target=server.serve_forever).start()
print("all ports are open")  # noqa: T201
while True:
    udp.sendto(*udp.recvfrom(100))
