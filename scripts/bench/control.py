"""A client of the daemon: a length of four bytes, then JSON, over its socket (src/wire)."""
import json
import socket
import struct


class Refused(Exception):
    """The daemon's answer was an error."""


class Control:
    """A connection that has greeted. The daemon speaks first, and its greeting is given back as ours: only
    programs of one build talk to each other, and these scripts are of no build."""

    def __init__(self, path, timeout=60.0):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.number = 0
        self.send(self.receive())

    def send(self, value):
        body = json.dumps(value).encode()
        self.socket.sendall(struct.pack(">I", len(body)) + body)

    def receive(self):
        (length,) = struct.unpack(">I", self._exactly(4))
        return json.loads(self._exactly(length))

    def _exactly(self, count):
        parts = bytearray()
        while len(parts) < count:
            part = self.socket.recv(count - len(parts))
            if not part:
                raise ConnectionError("the daemon hung up")
            parts += part
        return bytes(parts)

    def call(self, request):
        """Asks, and returns the answer; events in between are dropped."""
        self.number += 1
        self.send({"id": self.number, "request": request})
        while True:
            frame = self.receive()
            if "error" in frame:
                raise Refused(frame["error"]["error"])
            if "reply" in frame and frame["reply"]["id"] == self.number:
                return frame["reply"]["reply"]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
