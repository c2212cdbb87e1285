"""Makes the pictures of the live page in docs/images: `make screenshots`. They show the demo after two minutes."""

import base64
import time
from pathlib import Path

from browser import chromium, look_like
from running import COMMAND, Running
from selenium.webdriver import Chrome

IMAGES = Path(__file__).parent.parent / "docs/images"
SECONDS = 118  # the page then shows its last two minutes, all of them seen


def _main() -> None:
    with Running(command=(*COMMAND, "demo")) as demo, chromium() as browser:
        look_like(browser, 1280, 800)
        browser.get(f"http://127.0.0.1:{demo.port}/live")
        time.sleep(SECONDS)
        for name, width, scheme in (
            ("live-1280", 1280, "light"),
            ("live-1280-dark", 1280, "dark"),
            ("live-390", 390, "light"),
        ):
            look_like(browser, width, 800, scheme)
            (IMAGES / f"{name}.png").write_bytes(_picture(browser))


def _picture(browser: Chrome) -> bytes:
    """The whole page, however high it is."""
    size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return base64.b64decode(taken["data"])


if __name__ == "__main__":
    _main()
