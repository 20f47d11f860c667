"""No call through an attribute that can be assigned anew, in what is compiled.

Such a call does not hold the object it is made on; gateway/compiled.py says why that crashes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cache

import pytest

from gateway.compiled import MODULES, ROOT, source_of, types_of

_CLASS = re.compile(r"^cdef class (\w+)(?:\((\w+)\))?:")
_FIELD = re.compile(r"^    cdef (?:public |readonly )*([A-Z_]\w*) ([\w, ]+)$")
_SETUP = ("__init__", "__cinit__", "prepare")
"""What makes a new object; `prepare` is called once, right after `__new__`."""


@dataclass
class Compiled:
    """A compiled class, as its types declare it."""

    base: str | None
    fields: dict[str, str] = field(default_factory=dict)
    """Attributes that are typed as a class: name and class."""


def classes_of(types: str) -> dict[str, Compiled]:
    """What a file of types declares, by name."""
    found: dict[str, Compiled] = {}
    current: Compiled | None = None
    for line in types.splitlines():
        if begin := _CLASS.match(line):
            current = found[begin[1]] = Compiled(begin[2])
        elif line and not line.startswith((" ", "#")):
            current = None
        elif current is not None and (declared := _FIELD.match(line)):
            current.fields |= {name.strip(): declared[1] for name in declared[2].split(",")}
    return found


@cache
def declared() -> dict[str, Compiled]:
    """All compiled classes by name."""
    found: dict[str, Compiled] = {}
    for module in MODULES:
        found |= classes_of((ROOT / types_of(module)).read_text())
    return found


def fields_of(name: str | None, classes: Mapping[str, Compiled]) -> dict[str, str]:
    """Its attributes typed as compiled classes, inherited ones too."""
    if name is None or name not in classes:
        return {}
    one = classes[name]
    own = {key: of for key, of in one.fields.items() if of in classes}
    return fields_of(one.base, classes) | own


def _targets(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Assign():
            return [part for target in node.targets for part in _parts(target)]
        case ast.AnnAssign():
            return [node.target]
        case ast.Delete():
            return node.targets
        case _:
            return []


def _parts(target: ast.expr) -> list[ast.expr]:
    return target.elts if isinstance(target, ast.Tuple | ast.List) else [target]


def family(name: str, classes: Mapping[str, Compiled]) -> set[str]:
    """A class with those it is made from and those made from it."""
    below = {one for one in classes if name in _above(one, classes)}
    return {name, *_above(name, classes), *below}


def _above(name: str, classes: Mapping[str, Compiled]) -> Iterator[str]:
    base: str | None = name
    while base is not None and base in classes:
        yield base
        base = classes[base].base


def owners_of(
    function: ast.FunctionDef, owner: str | None, classes: Mapping[str, Compiled]
) -> dict[str, str]:
    """Names in a function and their compiled classes, where that is said: parameters, `x: X`, `x = self.x`."""
    found = {}
    for given in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
        if isinstance(given.annotation, ast.Name) and given.annotation.id in classes:
            found[given.arg] = given.annotation.id
    fields = fields_of(owner, classes)
    for node in ast.walk(function):
        match node:
            case ast.AnnAssign(ast.Name(name), ast.Name(kind)) if kind in classes:
                found[name] = kind
            case _:
                pass
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for one, value in zip(_parts(target), _parts(node.value), strict=False):
                    match one, value:
                        case ast.Name(name), ast.Attribute(ast.Name("self"), of) if of in fields:
                            found[name] = fields[of]
                        case _:
                            pass
    return found | ({} if owner is None else {"self": owner})


def assigned_anew(tree: ast.Module, classes: Mapping[str, Compiled]) -> set[tuple[str, str]]:
    """Class and attribute where one is assigned outside of a constructor; `*`: a class not said."""
    found = set()
    for owner in tree.body:
        name = owner.name if isinstance(owner, ast.ClassDef) else None
        for function in ast.walk(owner):
            if not isinstance(function, ast.FunctionDef) or function.name in _SETUP:
                continue
            owners = owners_of(function, name, classes)
            for node in ast.walk(function):
                for one in _targets(node):
                    if isinstance(one, ast.Attribute):
                        of = one.value.id if isinstance(one.value, ast.Name) else ""
                        found.add((owners.get(of, "*"), one.attr))
    return found


def unheld_calls(
    tree: ast.Module, classes: Mapping[str, Compiled], anew: Set[tuple[str, str]]
) -> Iterator[str]:
    """`self.X.method(...)` where X is a compiled object that may be exchanged meanwhile."""
    for owner in tree.body:
        if not isinstance(owner, ast.ClassDef):
            continue
        kin = {"*", *family(owner.name, classes)}
        kin = {"*", *family(owner.name, classes)}
        anew_here = {name for of, name in anew if of in kin}
        risky = anew_here & fields_of(owner.name, classes).keys()
        for node in ast.walk(owner):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Attribute)
                and node.func.value.attr in risky
                and isinstance(node.func.value.value, ast.Name)
                and node.func.value.value.id == "self"
            ):
                yield f"line {node.lineno}: {ast.unparse(node.func)}(...)"


@cache
def anew_anywhere() -> frozenset[tuple[str, str]]:
    """In all that may know a compiled object, itself compiled or not."""
    rooms = {module.split(".")[1] for module in MODULES}
    files = (one for room in rooms for one in ROOT.glob(f"gateway/{room}/*.py"))
    trees = [ast.parse(one.read_text()) for one in files]
    return frozenset[tuple[str, str]]().union(*(assigned_anew(tree, declared()) for tree in trees))


@pytest.mark.parametrize("module", MODULES)
def test_an_object_is_held_while_it_is_called(module: str) -> None:
    tree = ast.parse((ROOT / source_of(module)).read_text())
    found = list(unheld_calls(tree, declared(), anew_anywhere()))
    assert not found, f"{source_of(module)}: take a local first (see gateway/compiled.py)"


SAMPLE_TYPES = """
cdef class User:
    cpdef take(self, bytes data)

cdef class Base:
    cdef public User inherited

cdef class Link(Base):
    cdef public User user, kept
    cdef object plain
"""
SAMPLE = """
class Link(Base):
    def __init__(self, user):
        self.user = self.kept = user

    def data(self, data):
        self.{name}.take(data)

    def close(self):
        self.user, self.inherited, self.plain = None, None, None
"""


@pytest.mark.parametrize(
    ("name", "is_risky"), [("user", True), ("inherited", True), ("kept", False), ("plain", False)]
)
def test_calls_that_do_not_hold_are_found(name: str, is_risky: bool) -> None:
    classes = classes_of(SAMPLE_TYPES)
    tree = ast.parse(SAMPLE.format(name=name))
    found = list(unheld_calls(tree, classes, assigned_anew(tree, classes)))
    assert found == ([f"line 7: self.{name}.take(...)"] if is_risky else [])


def test_a_local_holds() -> None:
    tree = ast.parse(SAMPLE.replace("self.{name}.take(data)", "user = self.user; user.take(data)"))
    classes = classes_of(SAMPLE_TYPES)
    assert not list(unheld_calls(tree, classes, assigned_anew(tree, classes)))


def test_attributes_of_compiled_classes_are_found() -> None:
    known = declared()
    assert fields_of("Attempt", known).keys() >= {"exchange", "instance", "connection"}
    assert ("Attempt", "connection") in anew_anywhere()
