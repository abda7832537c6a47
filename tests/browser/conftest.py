"""Pages in a real browser: a headless Chromium, driven through a pipe by the DevTools protocol, which needs no package.

`page(file)` opens an HTML file from disk in a tab of its own. CHROMIUM names a browser that is not on the PATH.
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
)
PATIENCE = 60.0  # seconds, of a busy machine
KEYS = {"Enter": ("Enter", 13, "\r"), " ": ("Space", 32, " "), "Tab": ("Tab", 9, "")} | {
    name: (name, number, "") for name, number in (("ArrowRight", 39), ("Delete", 46))
}  # others are letters


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies in this folder is marked `browser`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


class Browser:
    """A Chromium with an empty profile."""

    def __init__(self, program: str, profile: Path) -> None:
        # the browser reads its descriptor 3 and writes 4: ours must be neither
        here, there = ([_high(end) for end in os.pipe()] for _ in range(2))
        flags = [*FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else []), f"--user-data-dir={profile}"]
        self._log = open(profile / "log", "wb")  # noqa: SIM115 as long as the browser
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{here[0]} 4>&{there[1]}', "bash", program, *flags, "about:blank"],
            pass_fds=(here[0], there[1]),
            stdout=self._log,
            stderr=self._log,
        )
        os.close(here[0])
        os.close(there[1])
        self._to, self._from = here[1], there[0]
        self._buffer, self._number = bytearray(), 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """What the browser answers; events that come before the answer are kept in `events`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while (answer := self._next(until)).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def wait(self, method: str, session: str | None = None) -> dict[str, Any]:
        """The parameters of the first such event, which is then forgotten, once there has been one."""
        until = time.monotonic() + PATIENCE
        while True:
            for at, event in enumerate(self.events):
                if (event["method"], event.get("sessionId")) == (method, session):
                    return self.events.pop(at)["params"]
            self.events.append(self._next(until))

    def _next(self, until: float) -> dict[str, Any]:
        seen = 0
        while (end := self._buffer.find(b"\0", seen)) < 0:
            seen = len(self._buffer)
            ready, _, _ = select.select([self._from], [], [], max(0, until - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            assert part, f"the browser does not answer; it said: {Path(self._log.name).read_text()[-2000:]}"
            self._buffer += part
        message = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        return message

    def close(self) -> None:
        """Ends it."""
        os.close(self._to)  # which it takes as the order to stop
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)
        self._log.close()


def _high(descriptor: int) -> int:
    """The same under a number from 10."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


class Page:
    """A tab in which an HTML file is open."""

    def __init__(self, browser: Browser, file: Path) -> None:
        self._browser = browser
        self._target = browser.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.send("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.width(1280)
        self.open(file)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol for this tab."""
        return self._browser.send(method, self._session, **parameters)

    def open(self, file: Path) -> None:
        """Opens it, or opens it again, and waits until all of it is there."""
        self._browser.events.clear()
        self.send("Page.navigate", url=file.resolve().as_uri())
        self._browser.wait("Page.loadEventFired", self._session)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, as JSON has it."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def width(self, pixels: int) -> None:
        """As on a screen of that width."""
        self.send("Emulation.setDeviceMetricsOverride", width=pixels, height=800, deviceScaleFactor=1, mobile=False)

    def scheme(self, name: str) -> None:
        """`light` or `dark`, as the reader prefers."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of the first such element."""
        place = self._place(selector)
        middle = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
        for kind in ("mousePressed", "mouseReleased"):
            self._mouse(kind, *middle)

    def drag(self, selector: str, x0: float, y0: float, x1: float, y1: float) -> None:
        """With the mouse held, from one point to another, in pixels from the upper left corner of the element."""
        place = self._place(selector)
        x, y = place["x"], place["y"]
        self._mouse("mousePressed", x + x0, y + y0)
        self._mouse("mouseMoved", x + (x0 + x1) / 2, y + (y0 + y1) / 2)
        self._mouse("mouseReleased", x + x1, y + y1)

    def saved(self, selector: str, folder: Path) -> Path:
        """The file that a click on the element makes the browser save."""
        self._browser.send(
            "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder.resolve()), eventsEnabled=True
        )
        self.click(selector)
        begun = self._browser.wait("Browser.downloadWillBegin")
        while self._browser.wait("Browser.downloadProgress")["state"] == "inProgress":
            pass
        return folder / begun["suggestedFilename"]

    def _place(self, selector: str) -> dict[str, float]:
        """The element's rectangle, once it is in sight."""
        script = "(e.scrollIntoView({block: 'center'}), e.getBoundingClientRect().toJSON())"
        return self.run(f"(e => {script})({_first(selector)})")

    def _mouse(self, kind: str, x: float, y: float) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, x=x, y=y)

    def focus(self, selector: str) -> None:
        """The first such element has the keyboard."""
        self.run(f"{_first(selector)}.focus()")

    def type(self, text: str) -> None:
        """Into what has the keyboard."""
        self.send("Input.insertText", text=text)

    def press(self, key: str, *, held: bool = False) -> None:
        """A key, down and up; with `held` down alone."""
        code, number, text = KEYS.get(key, (f"Key{key.upper()}", ord(key[0].upper()), key))
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        if not held:
            self.release(key)

    def release(self, key: str) -> None:
        """The key goes up."""
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def errors(self) -> list[str]:
        """What the console has shown as errors since the page was opened."""
        self.run("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        found = []
        for method, parameters in self._events():
            if method == "Runtime.exceptionThrown":
                found.append(parameters["exceptionDetails"]["text"])
            if method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
                found.append(json.dumps(parameters["args"]))
            if method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(parameters["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """The addresses asked for since the page was opened, at most 100 letters of each."""
        return [p["request"]["url"][:100] for method, p in self._events() if method == "Network.requestWillBeSent"]

    def close(self) -> None:
        """The tab."""
        self._browser.send("Target.closeTarget", targetId=self._target)

    def _events(self) -> list[tuple[str, dict[str, Any]]]:
        return [(e["method"], e["params"]) for e in self._browser.events if e.get("sessionId") == self._session]


def _first(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests; they are skipped where there is none."""
    named = os.environ.get("CHROMIUM")
    program = shutil.which(named) if named else next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no {named or 'Chromium'} found: install Debian's chromium, or name a browser with CHROMIUM")
    running = Browser(program, tmp_path_factory.mktemp("profile"))
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Callable[[Path], Page]]:
    """Opens HTML files, each in a tab that is closed after the test."""
    opened: list[Page] = []

    def open_file(file: Path) -> Page:
        opened.append(Page(browser, file))
        return opened[-1]

    yield open_file
    for tab in opened:
        tab.close()
