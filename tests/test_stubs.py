"""`_core.pyi` tells the truth: the same names and the same parameters as the compiled module."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

from evprop import _core

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.fixture(scope="module")
def stub(repository: Path) -> ast.Module:
    return ast.parse((repository / "python" / "evprop" / "_core.pyi").read_text())


def public(module: Any) -> set[str]:
    return {name for name in dir(module) if not name.startswith("_")}


def parameters_of_stub(node: FunctionNode, *, method: bool) -> list[tuple[str, bool]]:
    """(name, has a default) of each parameter, `self` left out."""
    plain = [*node.args.posonlyargs, *node.args.args]
    defaults = [False] * (len(plain) - len(node.args.defaults)) + [True] * len(node.args.defaults)
    pairs = [(arg.arg, default) for arg, default in zip(plain, defaults, strict=True)]
    pairs += [
        (arg.arg, default is not None)
        for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    ]
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    return pairs[1:] if method and not static else pairs


def parameters_of_object(function: Any, *, method: bool) -> list[tuple[str, bool]]:
    pairs = [
        (p.name, p.default is not inspect.Parameter.empty)
        for p in inspect.signature(function).parameters.values()
    ]
    return pairs[1:] if method and pairs and pairs[0][0] in ("self", "cls") else pairs


def stub_members(stub: ast.Module) -> dict[str, ast.stmt]:
    members: dict[str, ast.stmt] = {}
    for node in stub.body:
        if isinstance(node, FunctionNode | ast.ClassDef):
            members[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            members[node.target.id] = node
    return {name: node for name, node in members.items() if not name.startswith("_")}


def test_names_agree(stub: ast.Module) -> None:
    assert set(stub_members(stub)) == public(_core)


def test_functions_agree(stub: ast.Module) -> None:
    for name, node in stub_members(stub).items():
        if isinstance(node, FunctionNode):
            real = parameters_of_object(getattr(_core, name), method=False)
            assert parameters_of_stub(node, method=False) == real, name


def test_classes_agree(stub: ast.Module) -> None:
    for name, node in stub_members(stub).items():
        if not isinstance(node, ast.ClassDef):
            continue
        real = getattr(_core, name)
        functions = {n.name: n for n in node.body if isinstance(n, FunctionNode)}
        attributes = {
            n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
        }
        listed = {m for m in functions if not m.startswith("_")} | attributes
        assert listed == {m for m in vars(real) if not m.startswith("_")}, name
        for member, function in functions.items():
            what = f"{name}.{member}"
            if member in ("__init__", "__new__"):
                given = parameters_of_object(real, method=False)
                assert parameters_of_stub(function, method=True) == given, what
            elif callable(getattr(real, member)) and not member.startswith("__"):
                given = parameters_of_object(getattr(real, member), method=True)
                assert parameters_of_stub(function, method=True) == given, what


def test_every_public_name_is_documented() -> None:
    undocumented = [
        name for name in sorted(public(_core)) if not (getattr(_core, name).__doc__ or "").strip()
    ]
    assert not undocumented
