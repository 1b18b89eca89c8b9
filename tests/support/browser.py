"""A page in a real browser: what is too wide for it, at a width and as it would be printed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

PROBE = """<!doctype html><meta charset="utf-8"><body><script>
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  const wide = [...page.querySelectorAll("body *")].filter(each => {
    const box = each.getBoundingClientRect();
    return box.width > 1 && (box.right > root.clientWidth + 0.5 || box.left < -0.5);
  });
  const seen = {
    scroll: root.scrollWidth, client: root.clientWidth, height: root.scrollHeight,
    wide: wide.slice(0, 5).map(each => each.outerHTML.slice(0, 120)),
    paper: getComputedStyle(page.body).backgroundColor,
    heading: getComputedStyle(page.querySelector("thead")).position,
  };
  document.body.innerHTML = "<pre>" + JSON.stringify(seen).replace(/&/g, "&amp;")
    .replace(/</g, "&lt;") + "</pre>";
});
</script><iframe style="border:0;width:WIDTHpx;height:900px" srcdoc="PAGE"></iframe></body>
"""
"""The page lies in a frame of that width, which this document may look into."""


def find_browser() -> str | None:
    """Chromium or Chrome; None if neither is installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


def chromium(browser: str, folder: Path, *options: str) -> str:
    """Run a browser without a screen or network and return what it prints."""
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=180, check=True
    )
    return done.stdout


def measured(browser: str, page: str, folder: Path, width: int, *, dark: bool = False) -> Any:
    """What PROBE sees of a page that is `width` pixels wide."""
    probe = folder / f"probe-{width}.html"
    frame = PROBE.replace("WIDTH", str(width)).replace("PAGE", escape(page))
    probe.write_text(frame)
    mode = ["--blink-settings=preferredColorScheme=0"] if dark else []
    printed = chromium(browser, folder, *mode, "--dump-dom", probe.as_uri())
    found = re.search(r"<pre>(.*?)</pre>", printed, re.DOTALL)
    assert found, printed[:500]
    return json.loads(unescape(found[1]))


def as_printed(page: str) -> str:
    """The page with the rules for print in force on a screen, and those for screens alone off.

    Its policy is taken off: it would refuse a style sheet that was changed.
    """
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    return page.replace("@media screen and", "@media speech and").replace(
        "@media print", "@media all"
    )
