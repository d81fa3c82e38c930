#!/usr/bin/env python3
"""An engine that says it holds a thousand model sets, and does nothing else: what the dashboard makes of them is measured.

The daemon starts it in the place of perilune-engine (PERILUNE_ENGINE). It speaks the same frames on its standard input.
"""
import json
import socket
import struct
import sys

SETS = 1000
MIB = 1 << 20


def receive(link):
    head = b""
    while len(head) < 4:
        part = link.recv(4 - len(head))
        if not part:
            sys.exit(0)
        head += part
    (length,) = struct.unpack(">I", head)
    body = b""
    while len(body) < length:
        part = link.recv(length - len(body))
        if not part:
            sys.exit(0)
        body += part
    return json.loads(body)


def send(link, value):
    data = json.dumps(value).encode()
    link.sendall(struct.pack(">I", len(data)) + data)


def held(device):
    """The sets, each of three parts; every tenth shares its autoencoder with the one before."""
    def part(number, role, at, mib):
        copy = 3 * (number - (role == "vae" and number % 10 == 9)) + at
        return {"role": role, "copy": copy, "precision": "fp16", "planned": mib * MIB, "bytes": mib * MIB, "device": device}
    parts = lambda n: [part(n, "denoiser", 0, 8), part(n, "clip_l", 1, 2), part(n, "vae", 2, 1)]
    sets = [{"id": f"{number:08x}", "name": f"night-{number}", "family": "sd15", "parts": parts(number), "placed": None}
            for number in range(SETS)]
    return {"memory": {"sets": sets, "activations": None, "simulated": []}}


def main():
    link = socket.socket(fileno=0)
    greeting = receive(link)
    # Of the same build as whoever starts it, whichever that is.
    send(link, greeting)
    device = "cpu"
    while True:
        order = receive(link)
        if order == "shutdown":
            return
        name, value = next(iter(order.items())) if isinstance(order, dict) else (order, None)
        if name == "configure":
            device = value["device"]
            send(link, {"ready": {"about": "an engine that only says what it holds"}})
        elif name == "load":
            send(link, held(device))
            send(link, {"loaded": {"run": value["run"], "failure": None}})
        elif name == "ping":
            send(link, {"pong": value})


main()
