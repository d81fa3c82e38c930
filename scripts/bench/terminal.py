"""A terminal for programs that draw: a pseudo-terminal of 120x40 and what its screen shows."""
import fcntl
import os
import re
import select
import signal
import struct
import termios
import time

COLUMNS, ROWS = 120, 40
# What every terminal is asked last, and what xterm answers.
ASKED, ANSWER = b"\x1b[c", b"\x1b[?62;22c"


class Terminal:
    """A program in a terminal of its own. Closed, it is gone."""

    def __init__(self, command, environment, size=(COLUMNS, ROWS)):
        self.master, slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        name = os.ttyname(slave)
        environment = {**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        # In a session of its own the first terminal that is opened becomes the controlling one.
        actions = [(os.POSIX_SPAWN_OPEN, 0, name, os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2),
                   (os.POSIX_SPAWN_CLOSE, self.master)]
        self.began = time.perf_counter()
        self.pid = os.posix_spawnp(command[0], [str(c) for c in command], environment, file_actions=actions, setsid=True)
        os.close(slave)
        self.status = None
        self.tail = self.said = b""

    def read(self, seconds):
        """What the program writes within so many seconds: (moment, bytes), or None when nothing came."""
        ready, _, _ = select.select([self.master], [], [], max(seconds, 0))
        if not ready:
            return None
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:
            data = b""
        moment = time.perf_counter()
        if not data:
            raise EOFError("the program has left its terminal" + last_words(self.said))
        self.said = (self.said + data)[-2000:]
        self.tail = (self.tail + data)[-(len(ASKED) + len(data)):]
        if ASKED in self.tail:
            self.tail = b""
            os.write(self.master, ANSWER)
        return moment, data

    def read_for(self, seconds):
        """Reads for so long; returns how many bytes came."""
        end, count = time.perf_counter() + seconds, 0
        while (left := end - time.perf_counter()) > 0:
            if read := self.read(left):
                count += len(read[1])
        return count

    def read_until(self, wanted, hint, seconds=20.0):
        """Reads until the screen is as wanted; returns the moment at which it was.

        `hint` is in the bytes before the screen can be as wanted: only then the screen is looked at, so that
        looking costs nothing meanwhile."""
        chunks, raw, deadline = [], b"", time.perf_counter() + seconds
        while True:
            try:
                read = self.read(deadline - time.perf_counter())
            except EOFError:
                read = None
            if read is None:
                screen = Screen()
                screen.feed(raw)
                raise TimeoutError("the screen never was as wanted:\n" + screen.text())
            chunks.append(read)
            raw += read[1]
            if hint not in raw:
                continue
            screen = Screen()
            for moment, data in chunks:
                screen.feed(data)
                if wanted(screen):
                    return moment

    def press(self, keys):
        os.write(self.master, keys.encode())

    def is_alive(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is None

    def quit(self, keys="q", seconds=5.0):
        """Asks the program to leave, and waits for that."""
        self.press(keys)
        deadline = time.perf_counter() + seconds
        while self.is_alive() and time.perf_counter() < deadline:
            try:
                self.read(0.02)
            except EOFError:
                # It is past its last word; what is left is its end.
                time.sleep(0.001)

    def close(self):
        if self.is_alive():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.status = -1
        os.close(self.master)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def last_words(data):
    """The last line of text in what a program wrote, after a colon; nothing where there is none."""
    lines = [line.strip() for line in SEQUENCE.sub("", data.decode("utf-8", "replace")).splitlines() if line.strip()]
    return f": {lines[-1][:120]}" if lines else ""


SEQUENCE = re.compile(
    r"\x1b\[(?P<args>[0-9;:<=>?]*)[ -/]*(?P<end>[@-~])"      # CSI
    r"|\x1b[\]P_^X].*?(?:\x07|\x1b\\)"                       # OSC, DCS, APC: for the terminal, not the screen
    r"|\x1b[ -/]*[0-~]", re.DOTALL)


class Screen:
    """Enough of a terminal to know which text stands where: cursor, erasing, text. No colours, no wide characters."""

    def __init__(self):
        self.rows = [[" "] * COLUMNS for _ in range(ROWS)]
        self.x = self.y = 0
        self.rest = ""
        self.undecoded = b""

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.rows)

    def feed(self, data):
        data = self.undecoded + data
        cut = len(data)
        # A character may be cut in two at the end.
        while cut > len(data) - 4 and cut > 0 and data[cut - 1] & 0xC0 == 0x80:
            cut -= 1
        if cut > 0 and data[cut - 1] >= 0xC0:
            cut -= 1
        else:
            cut = len(data)
        text, self.undecoded = self.rest + data[:cut].decode("utf-8", "replace"), data[cut:]
        at = 0
        while at < len(text):
            if text[at] != "\x1b":
                self.write(text[at])
                at += 1
            elif match := SEQUENCE.match(text, at):
                if match["end"]:
                    self.obey(match["args"], match["end"])
                at = match.end()
            else:
                break
        self.rest = text[at:]

    def write(self, character):
        if character == "\r":
            self.x = 0
        elif character == "\n":
            self.y = min(self.y + 1, ROWS - 1)
        elif character == "\b":
            self.x = max(self.x - 1, 0)
        elif character >= " ":
            if self.x >= COLUMNS:
                self.x, self.y = 0, min(self.y + 1, ROWS - 1)
            self.rows[self.y][self.x] = character
            self.x += 1

    def obey(self, arguments, end):
        if arguments[:1] in ("?", ">", "<", "="):
            return
        numbers = [int(n) if n.isdigit() else 0 for n in arguments.split(";")]
        first = max(numbers[0], 1)
        if end in "Hf":
            self.y, self.x = first - 1, max(numbers[1], 1) - 1 if len(numbers) > 1 else 0
        elif end == "G":
            self.x = first - 1
        elif end == "d":
            self.y = first - 1
        elif end in "ABCD":
            self.y += {"A": -first, "B": first}.get(end, 0)
            self.x += {"C": first, "D": -first}.get(end, 0)
        elif end == "J" and numbers[0] in (2, 3):
            self.rows = [[" "] * COLUMNS for _ in range(ROWS)]
        elif end == "J" and numbers[0] == 0:
            self.erase(self.y, self.x, COLUMNS)
            for y in range(self.y + 1, ROWS):
                self.erase(y, 0, COLUMNS)
        elif end == "K":
            begin, stop = {0: (self.x, COLUMNS), 1: (0, self.x + 1), 2: (0, COLUMNS)}[numbers[0]]
            self.erase(self.y, begin, stop)
        elif end == "X":
            self.erase(self.y, self.x, self.x + first)
        self.x, self.y = min(max(self.x, 0), COLUMNS - 1), min(max(self.y, 0), ROWS - 1)

    def erase(self, y, begin, stop):
        for x in range(begin, min(stop, COLUMNS)):
            self.rows[y][x] = " "
