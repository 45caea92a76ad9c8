"""A real browser on the real App: one server for each process of pytest, one browser for each module.

The browser ends with its module because playwright keeps an event loop running in the thread, in which `asyncio.run` of another test fails.
Requests to foreign hosts are noted and refused: the App's page asks for fonts, and hangs where nothing answers.

With `AUGSUITE_SCREENSHOTS` set to a folder, pictures that tests take stay there.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import PIL.Image
import pytest

PATIENCE_MS = 90_000  # several processes share the cores
LOADED = '[data-cy="looker"] canvas[canvas-loaded="true"]'
MODAL = '[data-cy="modal"]'

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)


@pytest.fixture(scope="session")
def app(fo, fiftyone_env):
    """The App of augsuite, on the database of the tests."""
    from augsuite_fiftyone.app import App

    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in fiftyone_env.items():
                patch.setenv(name, value)
            running = stack.enter_context(App())
        running.ready()
        yield running


@pytest.fixture(scope="module")
def chromium():
    """A browser without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs chromium")
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def looking(app, chromium, tmp_path):
    """Someone who looks at the App: a `Looking` with a fresh page."""
    with looking_at(app, chromium, tmp_path) as someone:
        yield someone


@contextlib.contextmanager
def looking_at(app, browser, folder, size=(1400, 900)):
    """A `Looking`; pictures go to `AUGSUITE_SCREENSHOTS`, or else a folder."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    context.set_default_timeout(PATIENCE_MS)
    someone = Looking(app, context, Path(os.environ.get("AUGSUITE_SCREENSHOTS") or folder))
    try:
        yield someone
    finally:
        context.close()


class Looking:
    """A page of the App.

    Attributes:
        page: playwright's.
        foreign: addresses on other hosts that the page asked for, none of which was reached.
    """

    def __init__(self, app, context, pictures):
        self.app = app
        self.foreign = []
        self._pictures = pictures
        context.route("**/*", self._only_here)
        # Else a popover about another product takes every click.
        context.add_init_script("localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true')")
        self.page = context.new_page()

    def _only_here(self, route):
        if urlsplit(route.request.url).hostname in {"127.0.0.1", None}:
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def open(self, dataset, view=None):
        """Open a dataset, by name or as FiftyOne has it, and wait for its grid."""
        self.page.goto(self.app.link(getattr(dataset, "name", dataset), view))
        self.grid()

    def grid(self):
        """Wait until the images of the grid are drawn, with their labels."""
        self.page.wait_for_selector(LOADED)
        self.page.wait_for_function(
            """loaded => {
                const shown = document.querySelectorAll('[data-cy="fo-grid"] [data-cy="looker"]').length;
                return shown > 0 && document.querySelectorAll('[data-cy="fo-grid"] ' + loaded).length >= shown;
            }""",
            arg=LOADED,
        )

    @property
    def tiles(self):
        """The images of the grid."""
        return self.page.locator('[data-cy="fo-grid"] [data-cy="looker"]')

    def open_modal(self, tile=0):
        """Click on an image, and wait for its large picture."""
        self.tiles.nth(tile).click()
        self.page.wait_for_selector(f'{MODAL} [data-cy="modal-looker-container"] canvas')

    def choose_slice(self, name):
        """Choose the slice that the grid of a dataset of groups shows."""
        chooser = self.page.locator('[data-cy="selector-slice"]')
        chooser.click()
        chooser.fill(name)
        chooser.press("Enter")
        self.page.wait_for_function(
            "name => document.querySelector('[data-cy=\"selector-slice\"]').value === name", arg=name
        )
        self.grid()

    def error(self):
        """What the App complains of; empty where it does not."""
        alerts = self.page.locator('[role="alert"]')
        return " ".join(alerts.all_inner_texts())

    def pixels(self, locator):
        """`(H, W, 3)` what is seen of an element."""
        return np.asarray(PIL.Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)

    def picture(self, name):
        """Keep a picture of the page; its path."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        path = self._pictures / f"{name}.png"
        self.page.screenshot(path=path)
        return path


def extent(pixels, like):
    """The box around the pixels that a function of red, green and blue picks, as fractions of the picture: left, top, right, bottom."""
    rows, columns = np.nonzero(like(*np.moveaxis(pixels, -1, 0)))
    if not len(rows):
        return None
    height, width = pixels.shape[:2]
    return columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height


def greenish(red, green, blue):
    """A line of `#00ff00` over something grey."""
    return (green > red + 80) & (green > blue + 80)


def reddish(red, green, blue):
    """A line of the colour of dropped boxes over something grey."""
    return (red > green + 80) & (red > blue + 40)
