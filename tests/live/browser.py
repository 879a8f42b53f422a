"""A real browser: the machine's Chromium, or Debian's, unpacked into the cache."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from harness.rig import debian

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
RECIPE = debian.Recipe(
    part="chromium",
    package="chromium",
    along=("chromium", "chromium-common", "fontconfig-config", "fonts-dejavu-core"),
    remedy="install Chromium so that chromium is on PATH",
)


def chromium() -> tuple[str, dict[str, str]]:
    """The command, and what its environment needs. Blocks while it is unpacked. Raises
    Unavailable."""
    for name in NAMES:
        if found := shutil.which(name):
            return found, {}
    folder = debian.unpacked(RECIPE)
    # A machine without a desktop has no fonts either: those that came along are used.
    env = {"LD_LIBRARY_PATH": debian.libraries(folder), "FONTCONFIG_SYSROOT": str(folder)}
    return str(folder / "usr/lib/chromium/chromium"), env


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser without a window, that asks nothing of the network by itself. Raises
    Unavailable."""
    command, env = chromium()
    quiet = ["--disable-gpu", "--disable-quic", "--disable-background-networking"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=command, args=quiet, env={**os.environ, **env}
        )
        try:
            yield browser
        finally:
            await browser.close()
