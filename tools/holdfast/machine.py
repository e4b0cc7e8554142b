# SPDX-License-Identifier: GPL-2.0
"""Runs the virtual machine: a PC with SR-IOV devices, CXL memory and hotplug.

The guest's console goes to its first serial port and from there into a file; what
it has to say to the host (results, an exit status) goes to the second one, so
that no kernel message can tear it apart.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import cache, console, guest_image, kernel, modules, packages, paths, splats

MEMORY = "1G"
_PROBE_SECONDS = 10.0
_BOOT_SECONDS = 300.0
_POWER_OFF_SECONDS = 15.0
_LONGEST_CONSOLE = 32 << 20
_KEPT_CONSOLES = 10
_interrupted = threading.Event()
"""Tells the threads that have machines running; a signal reaches the main thread only."""

_STATUS = re.compile(r"^# holdfast: exit status (\d+)$", re.MULTILINE)
_UP = "holdfast: guest is up"

DEBUG_COMMAND_LINE = (
    # A KASAN that does not go blind after one report.
    "kasan_multi_shot",
    # An emulated CPU stands still for as long as the host does something else. What really hangs
    # does so for longer than this.
    "sysctl.kernel.hung_task_timeout_secs=60",
    "sysctl.kernel.watchdog_thresh=30",
    "rcupdate.rcu_cpu_stall_timeout=60",
)

LEAK_CHECK = "kmemleak=on"
NO_LEAK_CHECK = "kmemleak=off"
"""Emulated, the leak checker more than doubles the time to boot, so it runs where it is judged."""

_COMMON_COMMAND_LINE = (
    "console=ttyS0",
    # With -no-reboot a panic ends QEMU at once, but only when all of it is printed.
    "panic=-1",
    # The VFs' BARs fit behind no root port that the firmware has sized.
    "pci=realloc",
    "log_buf_len=4M",
    "printk.devkmsg=on",
    # Suites run where somebody asks for them, not at boot and at every insmod.
    "kunit.autorun=0",
    # An emulated CPU that stood still for a moment looks like one whose timer does not tick, and
    # the kernel panics. A guest of KVM does not check that either.
    "no_timer_check",
)

# Root port rp1: a NIC with 8 VFs. rp2: an NVMe controller with 4. rp3: free, to plug into.
# Behind the CXL host bridge: two devices with 256 MiB of volatile memory each.
DEVICES = (
    ("-object", "memory-backend-ram,id=cxl-memory0,share=on,size=256M"),
    ("-object", "memory-backend-ram,id=cxl-memory1,share=on,size=256M"),
    # Native PCIe hotplug, as on hardware, not ACPI's.
    ("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"),
    ("-device", "pcie-root-port,id=rp1,chassis=1,slot=1"),
    ("-device", "igb,id=igb0,bus=rp1"),
    ("-device", "pcie-root-port,id=rp2,chassis=2,slot=2"),
    ("-device", "nvme-subsys,id=subsystem0"),
    (
        "-device",
        "nvme,id=nvme0,bus=rp2,serial=holdfast,subsys=subsystem0,sriov_max_vfs=4,"
        "sriov_vq_flexible=8,sriov_vi_flexible=4,max_ioqpairs=10,msix_qsize=9",
    ),
    ("-device", "pcie-root-port,id=rp3,chassis=3,slot=3"),
    ("-device", "pxb-cxl,id=cxl.1,bus=pcie.0,bus_nr=12"),
    ("-device", "cxl-rp,id=cxl-rp0,bus=cxl.1,port=0,chassis=4,slot=4"),
    ("-device", "cxl-type3,id=cxl-mem0,bus=cxl-rp0,volatile-memdev=cxl-memory0,sn=1"),
    ("-device", "cxl-rp,id=cxl-rp1,bus=cxl.1,port=1,chassis=5,slot=5"),
    ("-device", "cxl-type3,id=cxl-mem1,bus=cxl-rp1,volatile-memdev=cxl-memory1,sn=2"),
)


@dataclass(frozen=True)
class Hardware:
    """The machine to be emulated."""

    machine: str = "q35,cxl=on,cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=4G"
    devices: tuple[tuple[str, str], ...] = DEVICES
    jumps: bool = False
    """Whether the guest's clock jumps over the time in which nothing happens, where that can be.

    Its processors then take turns. What sleeps a lot, as the PCI core does for VFs and slots, is
    done sooner; and two such machines keep two processors busy, not four.
    """
    counts: bool = False
    """Whether the guest's clock counts instructions: one processor, a nanosecond for each."""
    monitor_inside: bool = False
    """Whether the guest has QEMU's monitor on its third serial port."""


@dataclass
class Outcome:
    """How a run ended."""

    console: Path
    status: int | None = None
    """What the guest reported; None if it never came to that."""
    problem: str | None = None
    """One sentence if the run did not end by itself with a status."""
    results: str = ""
    boot_seconds: float | None = None
    seconds: float = 0.0
    scanner: splats.Scanner = field(default_factory=splats.Scanner)


def accelerator(image: Path) -> str:
    """Answer "kvm" or "tcg", by running a guest: /dev/kvm alone promises nothing.

    The answer holds until the host is booted again.
    """
    wanted = os.environ.get("ACCEL", "")
    if wanted in ("kvm", "tcg"):
        return wanted
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    memory = cache.root() / "kvm-probe.json"
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(memory.read_text())
        if known["boot"] == boot and known["user"] == os.getuid():
            return str(known["answer"])
    answer = "kvm" if _kvm_runs(image) else "tcg"
    memory.parent.mkdir(parents=True, exist_ok=True)
    partial = memory.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"boot": boot, "user": os.getuid(), "answer": answer}))
    partial.replace(memory)
    return answer


def _kvm_runs(image: Path) -> bool:
    """Boot a kernel with no root file system: it runs if it gets as far as that panic."""
    console.note("Probing KVM with a real guest, for at most 10 s")
    command = [
        str(packages.qemu()),
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]
    command += ["-M", "q35", "-accel", "kvm", "-cpu", "host", "-m", "512M", "-serial", "stdio"]
    command += ["-kernel", str(image), "-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return b"Kernel panic" in done.stdout


def _bare() -> list[str]:
    """Return the command of a machine that has nothing that was not asked for."""
    program = str(packages.qemu())
    return [program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]


def describe(accelerated: str) -> str:
    """Name the machine for people."""
    return "KVM" if accelerated == "kvm" else "QEMU's TCG (no working KVM here)"


def command(
    image: Path,
    initramfs: Path,
    command_line: list[str],
    *,
    accelerated: str,
    sockets: Path,
    hardware: Hardware | None = None,
) -> list[str]:
    """Return QEMU's command line, without the serial ports."""
    hardware = hardware or Hardware()
    line = [
        str(packages.qemu()),
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ]
    line += ["-M", hardware.machine]
    line += ["-m", f"{MEMORY},maxmem=8G,slots=8", "-smp", "1" if hardware.counts else "2"]
    if accelerated == "kvm" and not hardware.counts:
        line += ["-accel", "kvm", "-cpu", "host"]
    else:
        threads = "single" if hardware.jumps or hardware.counts else "multi"
        # With five-level page tables a KASAN kernel under TCG faults before it has a console.
        without = ["la57"]
        if hardware.counts:
            # The same in each run, with no randomness of its own.
            without += ["rdrand", "rdseed"]
        else:
            # String instructions that are fast on hardware are emulated byte by byte.
            without += ["erms", "fsrm", "fsrs", "fzrm", "fsrc"]
        processor = ",".join(["max", *[f"{feature}=off" for feature in without]])
        line += ["-accel", f"tcg,thread={threads}", "-cpu", processor]
        # Says on its standard error that there was a triple fault, which looks like a reboot.
        line += ["-d", "cpu_reset"]
        if hardware.jumps:
            # The processors take turns from timer to timer, so with fewer instructions between two
            # ticks more happens in the midst of what the other one does.
            line += ["-icount", "shift=1,sleep=off"]
            # The kernel leaves the HPET as it is once the processors have timers of their own.
            # QEMU's then fires every millisecond for ever, and each time ends a jump.
            line += ["-machine", "hpet=off"]
        if hardware.counts:
            # Also the same date in each run.
            line += ["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]
    for option in hardware.devices:
        line += option
    line += ["-qmp", f"unix:{sockets / 'qmp'},server=on,wait=off"]
    line += ["-kernel", str(image), "-initrd", str(initramfs)]
    line += ["-append", " ".join([*_COMMON_COMMAND_LINE, *command_line])]
    return line


def boot(
    built: kernel.Kernel,
    base: Path,
    *,
    name: str,
    run: str | Path,
    seconds: float,
    files: Path | None = None,
    command_line: list[str] | None = None,
    on_console: Callable[[str], None] | None = None,
    on_result: Callable[[str], None] | None = None,
    hardware: Hardware | None = None,
    give_up: Callable[[], str | None] = lambda: None,
) -> Outcome:
    """Boot, run `run` as root, and wait for its exit status; never for longer than `seconds`.

    `give_up` is asked all the time, and its answer is why the machine is to be ended.
    """
    outcome = Outcome(console=paths.BUILD / "console" / f"{name}.log")
    outcome.console.parent.mkdir(parents=True, exist_ok=True)
    outcome.console.write_bytes(b"")
    accelerated = accelerator(built.image)
    with _workspace() as space:
        initramfs = guest_image.extend(base, space / "initramfs", run=run, files=files)
        results = space / "results"
        results.write_bytes(b"")
        line = command(
            built.image,
            initramfs,
            ["loglevel=7", *(command_line or [])],
            accelerated=accelerated,
            sockets=space,
            hardware=hardware,
        )
        for port, path in (("console", outcome.console), ("results", results)):
            line += ["-chardev", f"file,id={port},path={_escaped(path)}"]
            line += ["-serial", f"chardev:{port}"]
        if hardware and hardware.monitor_inside:
            line += _monitor_inside(space / "monitor")
        errors = space / "errors"
        with errors.open("wb") as said:
            process = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
            try:
                _watch(process, outcome, results, seconds, on_console, on_result, give_up)
                ended_by_itself = process.poll() is not None
            finally:
                _end(process)
        if outcome.status is None and ended_by_itself:
            why = _why_it_ended(process.returncode, errors.read_text(errors="replace"))
            outcome.problem = why or outcome.problem
    return outcome


def _monitor_inside(socket: Path) -> list[str]:
    """Connect a monitor of QEMU's to the guest's next serial port: QEMU calls itself."""
    path = _escaped(socket)
    line = ["-chardev", f"socket,id=monitor,path={path},server=on,wait=off"]
    line += ["-mon", "chardev=monitor,mode=control"]
    return line + ["-chardev", f"socket,id=inside,path={path}", "-serial", "chardev:inside"]


def _watch(  # noqa: PLR0917 - one caller
    process: subprocess.Popen[bytes],
    outcome: Outcome,
    results: Path,
    seconds: float,
    on_console: Callable[[str], None] | None,
    on_result: Callable[[str], None] | None,
    give_up: Callable[[], str | None],
) -> None:
    """Follow both serial ports until the guest is gone or out of time."""
    started = time.monotonic()
    reported: float | None = None
    with _Tail(outcome.console) as printed, _Tail(results) as told:
        while True:
            running = process.poll() is None
            outcome.seconds = time.monotonic() - started
            for text in printed.lines(last=not running):
                outcome.scanner.feed(text)
                if outcome.boot_seconds is None and _UP in text:
                    outcome.boot_seconds = outcome.seconds
                if on_console:
                    on_console(text)
            for text in told.lines(last=not running):
                outcome.results += text + "\n"
                if on_result:
                    on_result(text)
            status = _STATUS.search(outcome.results)
            if status and reported is None:
                outcome.status = int(status[1])
                reported = outcome.seconds
            if not running:
                break
            if reported is not None and outcome.seconds - reported > _POWER_OFF_SECONDS:
                # It said what it had to say; a machine left deadlocked on purpose cannot power off.
                break
            if reported is None:
                why = "Interrupted" if interrupted() else None
                outcome.problem = why or give_up() or _out_of_patience(outcome, seconds)
                if outcome.problem:
                    break
            time.sleep(0.05)
    if outcome.status is None and outcome.problem is None:
        panicked = any("Kernel panic" in report.text for report in outcome.scanner.reports)
        outcome.problem = (
            "The guest's kernel panicked"
            if panicked
            else "The guest powered off or rebooted before it reported an exit status"
        )


def interrupted() -> bool:
    """Say whether no machine is to be started any more."""
    return _interrupted.is_set()


@contextlib.contextmanager
def side_by_side(count: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads that run machines, which end when nobody waits for them any more.

    That is when one of them fails, or the main thread, or a signal has come.
    """
    with ThreadPoolExecutor(max_workers=count) as pool:
        try:
            yield pool
        except BaseException:
            _interrupted.set()
            pool.shutdown(cancel_futures=True)
            raise


def _out_of_patience(outcome: Outcome, seconds: float) -> str | None:
    """Say why a guest that is still running is not waited for any longer."""
    if outcome.seconds > seconds:
        return f"The guest was not done after {seconds:.0f} s"
    if outcome.boot_seconds is None and outcome.seconds > _BOOT_SECONDS:
        return f"The guest had not booted after {_BOOT_SECONDS:.0f} s"
    if outcome.console.stat().st_size > _LONGEST_CONSOLE:
        return f"The guest's console exceeds {_LONGEST_CONSOLE >> 20} MiB"
    return None


def _why_it_ended(status: int, said: str) -> str | None:
    """Say what QEMU says itself of an end that the guest did not announce."""
    last = "".join(f": {line}" for line in said.strip().splitlines()[-1:])
    if status < 0:
        return f"QEMU was ended by {signal.Signals(-status).name}{last}"
    if status > 0:
        return f"QEMU ended with status {status}{last}"
    if "Triple fault" in said:
        return "The guest was reset by a triple fault"
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End QEMU, by its process id."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Tail:
    """The lines that a growing file has gained since the last look."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._rest = b""

    def __enter__(self) -> _Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def lines(self, *, last: bool) -> list[str]:
        """Return whole lines only, unless this is the last look."""
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        if last and self._rest:
            whole.append(self._rest)
            self._rest = b""
        return [line.rstrip(b"\r").decode(errors="replace") for line in whole]


@contextlib.contextmanager
def _workspace() -> Iterator[Path]:
    """Make a folder for one run: a short path, since a socket's may not be long."""
    with tempfile.TemporaryDirectory(prefix="holdfast-vm-") as name:
        yield Path(name)


def _escaped(path: Path) -> str:
    """Double commas: QEMU wants those the commas of an option's value."""
    return str(path).replace(",", ",,")


def last_lines(path: Path, count: int = 15) -> str:
    """Return the end of a console, for a failure's message."""
    lines = path.read_text(errors="replace").splitlines()[-count:]
    return "\n".join(f"  | {line.rstrip()}" for line in lines)


@functools.cache
def prepare(
    flavour: str, variant: str, *, program: Path | None = None
) -> tuple[kernel.Kernel, Path]:
    """Make kernel, modules and initramfs for a flavour; all of it from the cache if it can be."""
    packages.ensure("machine")
    built = kernel.ensure(flavour, variant)
    place = paths.BUILD / "guest" / f"{flavour}-{variant}"
    loadable = list(modules.build(built, place / "modules"))
    loadable += guest_image.faulty_modules(built, place / "faulty")
    base = guest_image.build(
        built,
        place / "base.cpio",
        modules=loadable,
        program=program or guest_image.guest_program(),
        flavour=flavour,
    )
    return built, base


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what `make vm` takes."""
    add = parser.add_argument
    add("--kernel", default="stock", choices=["stock", "patched"], help="which PCI core")
    add("--flavour", default="debug", help="debug, debug-kobject-release or fast")
    add("--run", dest="script", type=Path, help="a script to run as root; else a shell")
    add("--files", type=Path, help="a folder to copy to /files")
    limit = float(os.environ.get("TIMEOUT", "600"))
    add("--timeout", type=float, default=limit, help="seconds after which a script is given up")
    add("--append", default=os.environ.get("APPEND", ""), help="more kernel command line")


def run(arguments: argparse.Namespace) -> int:
    """Give a shell in the guest, or run a script whose exit status becomes ours."""
    if arguments.script is not None and not arguments.script.is_file():
        console.fail(f"RUN={arguments.script} is not a file.")
    if arguments.files is not None and not arguments.files.is_dir():
        console.fail(f"FILES={arguments.files} is not a folder.")
    built, base = prepare(arguments.flavour, arguments.kernel)
    extra = [] if arguments.flavour == "fast" else list(DEBUG_COMMAND_LINE)
    extra += arguments.append.split()
    if not any(option.startswith("kmemleak=") for option in extra):
        extra.append(NO_LEAK_CHECK)
    if arguments.script is None:
        return _interactive(built, base, arguments.files, extra)

    printing = False

    def show(line: str) -> None:
        nonlocal printing
        if printing and "holdfast: guest is done" in line:
            printing = False
        if printing:
            print(line, flush=True)
        printing = printing or _UP in line

    console.note(f"Booting {built.release} ({arguments.flavour})")
    outcome = boot(
        built,
        base,
        name=_fresh_name("vm"),
        run=arguments.script,
        files=arguments.files,
        seconds=arguments.timeout,
        command_line=extra,
        on_console=show,
    )
    if outcome.status is None:
        print(last_lines(outcome.console), file=sys.stderr)
        console.fail(f"{outcome.problem}; its console is in {outcome.console}.")
    for report in outcome.scanner.reports:
        console.note(f"The kernel reported: {report.title}")
    console.note(f"Exit status {outcome.status} after {outcome.seconds:.0f} s")
    console.note(f"The whole console is in {outcome.console}")
    return outcome.status


def _interactive(built: kernel.Kernel, base: Path, files: Path | None, extra: list[str]) -> int:
    """Put the guest's console on this terminal."""
    log = paths.BUILD / "console" / f"{_fresh_name('vm')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    accelerated = accelerator(built.image)
    with _workspace() as space:
        initramfs = guest_image.extend(base, space / "initramfs", files=files)
        line = command(
            built.image, initramfs, ["loglevel=5", *extra], accelerated=accelerated, sockets=space
        )
        line += ["-chardev", f"stdio,id=console,mux=on,signal=off,logfile={_escaped(log)}"]
        line += ["-serial", "chardev:console", "-mon", "chardev=console", "-serial", "null"]
        console.note(f"Booting under {describe(accelerated)}; leave with exit, or Ctrl-A then X")
        console.note(f"QMP at {space / 'qmp'}, console copied to {log}")
        return subprocess.run(line, check=False).returncode


def _fresh_name(prefix: str) -> str:
    """Name a console of this process alone, and drop the oldest of its kind."""
    ours = (paths.BUILD / "console").glob(f"{prefix}-*.log")
    newest_first = sorted(ours, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT_CONSOLES - 1 :]:
        path.unlink(missing_ok=True)
    return f"{prefix}-{os.getpid()}"
