"""A browser without a window that tests open pages in, and read a terminal from that is drawn there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

# The page's script keeps its terminal to itself; what it assigns to this name on its way tells who it is.
_FIND_TERMINAL = """
Object.defineProperty(Object.prototype, "weblinksAddon", {
  configurable: true,
  set(value) {
    window.terminalOfThePage = this.terminal;
    Object.defineProperty(this, "weblinksAddon", {value, writable: true});
  },
});
"""
_TEXT = """
const terminal = window.terminalOfThePage;
if (!terminal) return "";
const lines = [];
for (let y = 0; y < terminal.rows; y++) {
  // After it was made narrower, a line still has what stood beyond.
  lines.push(terminal.buffer.active.getLine(y)?.translateToString(true, 0, terminal.cols) ?? "");
}
return lines.join("\\n");
"""


class Browser:
    """Chromium, driven by chromedriver."""

    def __init__(self, directory: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in (
            "--headless=new",
            # Root has no sandbox; there is nothing here but our own page.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--enable-unsafe-swiftshader",
            "--window-size=1280,720",
            f"--user-data-dir={directory}",
            # All names but this machine's lead nowhere: a page that needs the network shows it.
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self._driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
        self._driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _FIND_TERMINAL})

    def open(self, address: str) -> None:
        self._driver.get(address)

    @property
    def address(self) -> str:
        return str(self._driver.current_url)

    def page_text(self) -> str:
        return str(self._driver.find_element(By.TAG_NAME, "body").text)

    def text(self) -> str:
        """What the terminal shows."""
        return str(self._driver.execute_script(_TEXT))

    def wait_for(self, what: str, holds: Callable[[str], object], timeout_s: float = 30) -> str:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            text = self.text()
            if holds(text):
                return text
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {timeout_s} s\n{self.text()}\n{self.log()}")

    def type(self, *keys: str) -> None:
        ActionChains(self._driver).send_keys(*keys).perform()

    def press_with_control(self, key: str) -> None:
        ActionChains(self._driver).key_down(Keys.CONTROL).send_keys(key).key_up(Keys.CONTROL).perform()

    def new_tab(self) -> None:
        self._driver.switch_to.new_window("tab")
        self._driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _FIND_TERMINAL})

    def close_tab(self) -> None:
        self._driver.close()
        self._driver.switch_to.window(self._driver.window_handles[0])

    def log(self) -> list[Any]:
        """What the page complained of."""
        return [each["message"] for each in self._driver.get_log("browser")]

    def screenshot(self) -> bytes:
        """As a PNG."""
        return bytes(self._driver.get_screenshot_as_png())

    def close(self) -> None:
        self._driver.quit()
