"""Every network says which shapes go in and out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "restorer/networks"
FORWARDS = {
    f"{path.stem}.{owner.name}": ast.get_docstring(method) or ""
    for path in sorted(FOLDER.glob("*.py"))
    for owner in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(owner, ast.ClassDef)
    for method in owner.body
    if isinstance(method, ast.FunctionDef) and method.name == "forward"
}


@pytest.mark.parametrize("name", FORWARDS)
def test_forward_says_its_shapes(name: str) -> None:
    assert "(n, " in FORWARDS[name] or "(k, " in FORWARDS[name]


def test_all_networks_are_looked_at() -> None:
    assert len(FORWARDS) > 40
