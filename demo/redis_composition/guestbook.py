"""Counts its visitors in Redis."""

import http.server
import socket


class Guestbook(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with socket.create_connection(("guestbook-store", 6379)) as store:
            store.sendall(b"INCR visits\r\n")
            count = store.recv(64).decode().strip(":\r\n")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"You are visitor {count}\n".encode())


http.server.HTTPServer(("", 8080), Guestbook).serve_forever()
