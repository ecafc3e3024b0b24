"""docs/api has one entry for every public name, and its signatures are those of the code.

A page holds sections (## `module`) of entries (### name, then the signature in a text block) with members as list items
that begin with one or more `.name` or `.name(signature)`. The page on errors lists exceptions in a table instead.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import evprop

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs/api").glob("*.md"))
MODULES = (
    *("evprop", "evprop.init", "evprop.losses", "evprop.optim", "evprop.train", "evprop.callbacks", "evprop.augment", "evprop.tensorboard"),
    *("evprop.metrics", "evprop.datasets", "evprop.plot", "evprop.sparse", "evprop.testing", "evprop.errors"),
    "evprop.attacks",
    *("evprop.estimator", "evprop.interop.jax", "evprop.interop.nir", "evprop.interop.torch"),
    *("evprop.distributed", "evprop.interop.neurobench", "evprop.sweep"),
)
MODULES += ("evprop.hardware", "evprop.on_device")
NEEDS = {
    "evprop.testing": "hypothesis",
    "evprop.estimator": "sklearn",
    "evprop.interop.jax": "jax",
    "evprop.interop.neurobench": "neurobench",
    "evprop.interop.nir": "nir",
    "evprop.interop.torch": "torch",
    "evprop.sweep": "optuna",
}
"""The package, from an extra, that a module needs."""
ENTRY = re.compile(r"^### (\w+)\n+(?:```text\n(.*?)\n```)?", re.MULTILINE | re.DOTALL)
MEMBERS = re.compile(r"^- ((?:`\.[^`]+`(?:, )?)+):", re.MULTILINE)


def load(module: str) -> ModuleType:
    """The module; skips the test where the extra that it needs is not installed."""
    if module in NEEDS:
        pytest.importorskip(NEEDS[module], reason=f"{module} needs {NEEDS[module]}, which an extra brings")
    return importlib.import_module(module)


def public_names(module: ModuleType) -> set[str]:
    """What a module exports: its __all__, else what it defines itself; submodules have sections of their own."""
    listed = getattr(module, "__all__", None)
    if listed is None:
        listed = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
    return {name for name in listed if f"{module.__name__}.{name}" not in MODULES}


def signature(value: Any) -> str:
    """Names, defaults and markers, without annotations; a method's without self."""
    parameters = [
        p.replace(annotation=p.empty) for p in inspect.signature(value).parameters.values() if p.name != "self"
    ]
    return str(inspect.Signature(parameters))


def entries() -> list[tuple[str, str, str, str]]:
    """(module, name, signature or "", the entry's text) of all pages."""
    found = []
    for page in PAGES:
        for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
            module = section.split("\n", 1)[0].strip("`")
            for part in re.split(r"(?=^### )", section, flags=re.MULTILINE)[1:]:
                head = ENTRY.match(part)
                assert head is not None, f"{page.name}: {part[:60]!r}"
                found.append((module, head[1], head[2] or "", part))
            found.extend((module, name, "", "") for name in re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    return found


ENTRIES = entries()


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_one_entry(module: str) -> None:
    known = Counter(name for where, name, _, _ in ENTRIES if where == module)
    assert set(known) == public_names(load(module)), (
        f"docs/api and {module} name different things"
    )
    assert max(known.values()) == 1


@pytest.mark.parametrize(
    ("module", "name", "shown", "text"), ENTRIES, ids=[f"{module}.{name}" for module, name, _, _ in ENTRIES]
)
def test_signatures_are_those_of_the_code(module: str, name: str, shown: str, text: str) -> None:
    value = getattr(load(module), name)
    if shown:
        assert " ".join(shown.split()) == f"{name}{signature(value)}"
    else:
        assert not callable(value) or (inspect.isclass(value) and issubclass(value, Exception))
    for items in MEMBERS.findall(text):
        for item in re.findall(r"`\.([^`]+)`", items):
            member = getattr(value, item.partition("(")[0])
            assert item == (item.partition("(")[0] + signature(member) if callable(member) else item)
            assert "(" in item or not callable(member)


def test_the_table_of_errors_gives_the_bases() -> None:
    text = (ROOT / "docs/api/errors.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE))
    for name, shown in rows.items():
        bases = [base.__name__ for base in getattr(evprop.errors, name).__bases__]
        assert re.findall(r"\w+", shown) == [b for b in bases if b != "EvpropError" or len(bases) == 1]


def test_the_index_links_every_page() -> None:
    text = (ROOT / "docs/api/README.md").read_text()
    for page in PAGES:
        assert page.name == "README.md" or f"]({page.name})" in text
    assert "api/README.md" in (ROOT / "docs/README.md").read_text()
