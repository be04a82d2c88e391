"""Screens and keyboards for people: a real terminal, a real window, a message where there is neither."""

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest

from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.verify import verify
from cog.datasets.teleop.terminal import decode, half_blocks
from tests.datasets.test_teleop import LINE

SCENE = ["--env", LINE.env, "--start", *LINE.starts, "--image-size", str(LINE.image_size)]


@pytest.mark.parametrize(
    "typed, keys",
    [
        (b"w", {"w"}),
        (b"wwwd ", {"w", "d", "space"}),
        (b"\r", {"enter"}),
        (b"\n", {"enter"}),
        (b"\x7f", {"backspace"}),
        (b"\x08", {"backspace"}),
        (b"Q", {"Q"}),
        (b"q?\xff", set()),
        (b"\x1b[A\x1b[1;5D\x1b[3~\x1b", set()),
        (b"\x1bOQs", {"s"}),
        (b"", set()),
    ],
)
def test_what_a_terminal_sends_becomes_keys(typed, keys):
    assert decode(typed) == keys


def test_half_blocks_hold_two_pixels_of_the_picture_each():
    picture = np.zeros((4, 2, 3), np.uint8)
    picture[1, 0], picture[2, 1] = (248, 0, 0), (0, 80, 160)
    cells = [
        (character, tuple(segment.style.color.triplet), tuple(segment.style.bgcolor.triplet))
        for segment in half_blocks(picture, 4).segments
        if segment.style
        for character in segment.text
    ]
    black = (0, 0, 0)
    assert cells == [
        ("▀", black, (248, 0, 0)),
        ("▀", black, black),
        ("▀", black, black),
        ("▀", (0, 80, 160), black),
    ]


class Session:
    """`cog teleop` in a terminal of its own."""

    def __init__(self, out, kind="xterm-256color"):
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.theirs)
        self.output = b""
        options = ["--out", str(out), "--episodes", "2", "--speed", "1", *SCENE]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cog.cli", "teleop", *options],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            env={**os.environ, "TERM": kind, "DISPLAY": ""},
            preexec_fn=self._own_terminal,
        )

    def _own_terminal(self):
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell begin with it ignored
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def type(self, keys, until):
        """Send keys and take new output that holds `until`, up to the next silence."""
        self.output = b""
        os.write(self.ours, keys)
        deadline = time.monotonic() + 60
        while until not in self.output:
            assert time.monotonic() < deadline, self.output[-3000:]
            self._read(0.1)
        while self._read(0.05):
            pass

    def end(self):
        """The exit code, once all output is taken."""
        while self.process.poll() is None:
            self._read(0.05)
        while self._read(0.05):
            pass
        return self.process.returncode

    def _read(self, seconds):
        if ready := bool(select.select([self.ours], [], [], seconds)[0]):
            self.output += os.read(self.ours, 65536)
        return ready


def test_in_a_terminal_keys_demonstrate_and_it_is_left_as_it_was(tmp_path):
    session = Session(tmp_path / "mine")
    session.type(b"", b"episode 1 of 2, start left")
    assert "▀".encode() in session.output and b"space       gripper" in session.output
    assert not termios.tcgetattr(session.theirs)[3] & (termios.ECHO | termios.ICANON)
    for step in range(1, 5):
        session.type(b"s", b"step %d of 200" % step)
    assert b"success yes" in session.output
    session.type(b"\r", b"saved episode 1 (success)")
    session.type(b"s", b"step 1 of 200")
    session.process.kill()
    assert session.end() == -signal.SIGKILL
    assert open_dataset(tmp_path / "mine").episode_count == 1 and verify(tmp_path / "mine") == []

    session = Session(tmp_path / "mine")
    session.type(b"", b"1 saved before")
    session.type(b"s", b"step 1 of 200")
    os.write(session.ours, b"\x03")  # Ctrl-C
    assert session.end() == 1 and b"interrupted" in session.output and b"Traceback" not in session.output
    assert termios.tcgetattr(session.theirs) == session.before

    session = Session(tmp_path / "mine")
    session.type(b"", b"episode 2 of 2")
    os.write(session.ours, b"Q")
    assert session.end() == 0
    assert "1 episodes, 4 steps, 1 successes" in " ".join(session.output.decode().split())
    assert termios.tcgetattr(session.theirs) == session.before
    assert verify(tmp_path / "mine") == []


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_is_refused(kind, tmp_path):
    session = Session(tmp_path / "mine", kind)
    assert session.end() == 1
    told = " ".join(session.output.decode().split())
    assert f"TERM={kind} says that this terminal cannot move its cursor" in told
    assert not (tmp_path / "mine").exists()


def test_without_display_and_terminal_a_message_says_what_is_needed(tmp_path):
    for screen, message in (("auto", "needs a display, or a terminal"), ("window", "--screen terminal")):
        run = subprocess.run(
            [sys.executable, "-m", "cog.cli", "teleop", "--out", "mine", *SCENE, "--screen", screen],
            cwd=tmp_path,
            env={**os.environ, "DISPLAY": "", "PYTHONPATH": str(Path.cwd())},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 1 and message in run.stderr, run.stderr
        assert "Traceback" not in run.stderr and not (tmp_path / "mine").exists()


WINDOW = """
import sys
from dataclasses import replace
from pathlib import Path
from cog.datasets.teleop.front_ends import open_front_end
from cog.datasets.teleop.teleop import teleoperate
from tests.datasets.test_teleop import LINE

with open_front_end("auto") as window:
    root = window.root
    class Opened:
        def __enter__(self): return window
        def __exit__(self, *error): pass
    for delay, event in enumerate(["<KeyPress-s>", "<KeyRelease-s>", "<KeyPress-Return>"]):
        root.after(500 + 800 * delay, lambda event=event: (root.focus_force(), root.event_generate(event)))
    root.after(500 + 800 * 3, window._close)
    teleoperate(replace(LINE, max_episode_steps=100), Path(sys.argv[1]), Opened, speed=0.1)
    assert window.image.width() == 16
    assert "saved episode 1" in window.text.cget("text")
"""


def test_in_a_window_a_held_key_acts_until_its_release_and_closing_it_keeps_what_is_saved(tmp_path):
    pytest.importorskip("tkinter")
    if not (shutil.which("xvfb-run") and shutil.which("Xvfb")):
        pytest.skip("Xvfb, the X server without a screen, is not installed")
    command = ["xvfb-run", "-a", sys.executable, "-c", WINDOW, str(tmp_path / "mine")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    (episode,) = open_dataset(tmp_path / "mine").episodes()
    assert 2 <= len(episode) <= 12, "0.8 s at 10 steps a second"
    np.testing.assert_array_equal(episode.actions[:, 0], np.full(len(episode), 0.1, np.float32))
    assert verify(tmp_path / "mine") == []
