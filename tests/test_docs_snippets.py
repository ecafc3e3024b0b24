"""Every Python snippet of README and docs runs as printed.

The snippets of one file run in order in one namespace, so that a page can build up its example; each file gets a
fresh folder to write into. A snippet that must not run is marked ```python no-run and needs a reason to exist.
Lines `$ evprop ...` of ```console blocks must name a command that exists.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
NEEDS = re.compile(r"<!-- needs: ([\w ]+) -->")
"""A page whose snippets need packages of an extra says so; without them its snippets are not run."""
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```\s*$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[int, str, str]]:
    """(line of its first statement, text, words after the language) of each fenced block."""
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        words = match["info"].split()
        if words and words[0] == language:
            found.append((text[: match.start("body")].count("\n") + 1, match["body"], " ".join(words[1:])))
    return found


def script(page: Path) -> str:
    """The page's snippets in one program, on the lines where they stand, so that errors point into the page."""
    lines: list[str] = []
    for line, body, words in blocks(page, "python"):
        if "no-run" in words.split():
            continue
        lines += [""] * (line - 1 - len(lines))
        lines += body.splitlines()
    return "\n".join(lines) + "\n"


with_python = [page for page in PAGES if script(page).strip()]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", with_python, ids=name)
def test_snippets_run(page: Path, tmp_path: Path) -> None:
    for package in " ".join(NEEDS.findall(page.read_text())).split():
        pytest.importorskip(package, reason=f"{name(page)} needs {package}, which an extra brings")
    program = script(page)
    code = f"exec(compile({program!r}, {str(page)!r}, 'exec'), {{'__name__': '__main__'}})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{name(page)}:\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{name(page)} links to {target}, which does not exist"


def test_commands_exist() -> None:
    from evprop import cli

    known = set(cli.main.commands)
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for _, body, _ in blocks(page, "console"):
            for line in body.splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True) if line.startswith("$ ") else []
                if words[:1] == ["evprop"] and len(words) > 1 and not words[1].startswith("-"):
                    assert words[1] in known, f"{name(page)}: evprop {words[1]}"
                if words[:1] == ["make"]:
                    targets = [w for w in words[1:] if "=" not in w and not w.startswith("-")]
                    for target in targets:
                        assert re.search(rf"^{target}:", makefile, re.MULTILINE), (
                            f"{name(page)}: make {target}"
                        )


def test_the_readme_has_something_to_run() -> None:
    assert ROOT / "README.md" in with_python
