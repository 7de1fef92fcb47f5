"""Run a command where no packet can leave the machine, and list what tried to.

The command gets network, mount and user namespaces of its own, in which every address of the world
is an address of the loopback device: whoever connects is refused at once, and a packet socket on
that device has seen where the packet was to go. Names are asked of a nameserver that is not there
either, so a look-up is a packet to `NAMESERVER`. Needs no packages, no root and no devices: Linux
with user namespaces, or root, or ``sudo`` without a password.
"""

from __future__ import annotations

import ctypes
import ipaddress
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

# The machine's own addresses in the namespace, besides loopback: whoever asks which it has, as Ray
# does, gets these, and packets to them are no way out.
OWN = {socket.AF_INET: "10.77.0.1", socket.AF_INET6: "fd77::1"}
NAMESERVER = "10.77.0.53"
ETC = {
    "resolv.conf": f"nameserver {NAMESERVER}\noptions timeout:1 attempts:1\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
NAMESPACES = ("unshare", "--net", "--mount", "--propagation", "private")
WAYS = (
    (*NAMESPACES, "--user", "--map-root-user"),
    NAMESPACES,
    ("sudo", "-n", *NAMESPACES),
)


class Sealed(NamedTuple):
    """What became of a command: its exit code, its output, and where packets were to go."""

    code: int
    output: str
    attempts: list[str]


@cache
def way_in() -> Sequence[str] | None:
    """The command that makes the namespaces on this machine; None if it cannot have any."""
    for way in WAYS:
        try:
            done = _sealed(way, ["true"], dict(os.environ), Path("/"), 10)
        except OSError:
            continue
        if done.returncode == 0 and json.loads(done.stdout)["code"] == 0:
            return way
    return None


def run_sealed(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, timeout: float = 120
) -> Sealed:
    """Run a command in namespaces of its own; ``env`` is all of its environment."""
    way = way_in()
    assert way is not None, "no namespaces here"
    done = _sealed(way, command, env, cwd, timeout)
    assert done.returncode == 0, done.stderr
    return Sealed(**json.loads(done.stdout))


def _sealed(
    way: Sequence[str], command: Sequence[str], env: Mapping[str, str], cwd: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    job = {
        "command": list(command), "env": dict(env), "cwd": str(cwd), "timeout": timeout,
        "user": os.getuid(), "group": os.getgid(), "drop": way[0] == "sudo",
    }  # fmt: skip
    return subprocess.run(
        [*way, sys.executable, __file__], input=json.dumps(job), capture_output=True, text=True,
        check=False,
    )  # fmt: skip


# --- in the namespaces ---


def _send(kind: int, flags: int, body: bytes) -> None:
    """Ask the kernel to change this namespace's network (rtnetlink), and hear that it did."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as kernel:
        kernel.send(struct.pack("=IHHII", 16 + len(body), kind, 1 | 4 | flags, 1, 0) + body)
        (error,) = struct.unpack_from("=i", kernel.recv(65536), 16)
    if error:
        raise OSError(-error, os.strerror(-error))


def _attributes(values: Mapping[int, bytes]) -> bytes:
    return b"".join(struct.pack("=HH", 4 + len(v), kind) + v for kind, v in values.items())


def _make_network() -> None:
    """Bring the loopback device up, and make every address one of its own."""
    lo, create = socket.if_nametoindex("lo"), 0x400
    _send(16, 0, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, lo, 1, 1))  # RTM_NEWLINK: up
    for family, address in OWN.items():
        try:
            packed = socket.inet_pton(family, address)
            # RTM_NEWADDR, with IFA_F_NODAD: an address is there now, and not when none else has it.
            head = struct.pack("=BBBBi", family, 8 * len(packed), 2, 0, lo)
            _send(20, create, head + _attributes({1: packed, 2: packed}))
            # RTM_NEWROUTE: all of the world (length 0) is local, and asked from our own address.
            head = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 255, 4, 254, 2, 0)
            _send(24, create, head + _attributes({4: struct.pack("=i", lo), 7: packed}))
        except OSError:
            if family == socket.AF_INET:
                raise  # a machine may be without IPv6


def _mount_names(folder: Path) -> None:
    """Have names looked up in ``/etc/hosts`` and then at `NAMESERVER`, by nobody else."""
    for name, text in ETC.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
        if Path("/etc", name).exists():
            subprocess.run(["mount", "--bind", folder / name, f"/etc/{name}"], check=True)


def _filter() -> bytes:
    """Instructions for the kernel (classic BPF): let through what goes out and to no own address.

    Only these are copied to us, so that none is lost where much is said on loopback.
    """
    own4 = struct.unpack("!I", socket.inet_pton(socket.AF_INET, OWN[socket.AF_INET]))[0]
    own6 = struct.unpack("!I", socket.inet_pton(socket.AF_INET6, OWN[socket.AF_INET6])[:4])[0]
    word, byte, equal, result = 0x20, 0x30, 0x15, 0x06
    code = [
        (word, 0, 0, 0xFFFFF004), (equal, 0, 15, 4),  # kind of packet: outgoing, else drop
        (word, 0, 0, 0xFFFFF000), (equal, 0, 4, 0x0800),  # protocol: IPv4, else 8
        (byte, 0, 0, 16), (equal, 11, 0, 127),
        (word, 0, 0, 16), (equal, 9, 8, own4),
        (equal, 0, 8, 0x86DD),  # 8: IPv6, else drop
        (word, 0, 0, 24), (equal, 6, 0, own6), (equal, 0, 4, 0),
        (word, 0, 0, 28), (equal, 0, 2, 0),
        (word, 0, 0, 36), (equal, 1, 0, 1),  # ::1 (or close to it)
        (result, 0, 0, 512), (result, 0, 0, 0),
    ]  # fmt: skip
    return b"".join(struct.pack("=HBBI", *each) for each in code)


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Yield a list that is complete at the end: where packets were to go that could not."""
    attempts: list[str] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as ear:
        code = ctypes.create_string_buffer(_filter())
        program = struct.pack("@HP", len(code) // 8, ctypes.addressof(code))
        ear.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
        ear.bind(("lo", 0))
        ear.settimeout(0.3)
        ended = threading.Event()

        def listen() -> None:
            while True:
                try:
                    attempts.append(_described(ear.recv(512)))
                except TimeoutError:
                    if ended.is_set():
                        return

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield attempts
        finally:
            ended.set()
            thread.join()


def _described(packet: bytes) -> str:
    """Say where a packet was to go, and which name it asks for."""
    if packet[0] >> 4 == 4:
        start, protocol, address = 4 * (packet[0] & 15), packet[9], packet[16:20]
    else:
        start, protocol, address = 40, packet[6], packet[24:40]
    kind = {6: "TCP", 17: "UDP"}.get(protocol, f"protocol {protocol}")
    (port,) = struct.unpack_from("!H", packet, start + 2)
    if kind == "UDP" and port == 53:
        return f"look-up of {_name(packet[start + 8 + 12 :])}"
    return f"{kind} to {ipaddress.ip_address(address)} port {port}"


def _name(question: bytes) -> str:
    """Read the name out of the question of a DNS packet."""
    labels = []
    while question and question[0]:
        labels.append(question[1 : 1 + question[0]].decode("ascii", "replace"))
        question = question[1 + question[0] :]
    return ".".join(labels)


def _run(job: Mapping[str, object]) -> tuple[int, str]:
    """Run the command of a job to its end, or to the end of its time, and all that it started."""
    who = {"user": job["user"], "group": job["group"], "extra_groups": []} if job["drop"] else {}
    process = subprocess.Popen(
        job["command"], env=job["env"], cwd=job["cwd"], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True, **who,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=job["timeout"])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return 124, f"{output}\nout of time"
    return process.returncode, output


def main() -> None:
    """Do the job that stdin describes; write what became of it to stdout."""
    job = json.load(sys.stdin)
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        _make_network()
        _mount_names(folder)
        with _listening() as attempts:
            code, output = _run(job)
    finally:
        shutil.rmtree(folder)
    json.dump({"code": code, "output": output, "attempts": sorted(set(attempts))}, sys.stdout)


if __name__ == "__main__":
    main()
