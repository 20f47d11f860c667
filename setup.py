"""Compiles the modules that gateway/compiled.py lists, where Cython and a C compiler are: all or none.

Everything else of the build stands in pyproject.toml. Without a compiler, or when anything at all goes
wrong with it, the build goes on; the modules then run as the Python they are. `GATEWAY_INTERPRETED=1`
does without in the first place.

What was compiled before from the same inputs is not compiled again; contents are compared, not times.
"""

import hashlib
import os
import runpy
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
LIST = runpy.run_path(str(HERE / "gateway" / "compiled.py"))
OPTIONS = ["-O3", "-g0", "-fno-strict-aliasing"]
LINKER_OPTIONS = ["-Wl,-s"]
DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,
    # As safe as the interpreter: an error there is an error here, never a crash.
    "boundscheck": True,
    "wraparound": True,
    "nonecheck": True,
    "show_performance_hints": False,
}
NEEDED = "it takes a C compiler and Python's headers (Debian, Ubuntu: apt install gcc libc6-dev python3-dev)"


def extensions() -> list[Extension]:
    """One for each module, none without Cython."""
    if os.environ.get(LIST["SWITCH"]):
        return []
    try:
        import Cython  # noqa: F401
    except ImportError:
        return []
    return [
        Extension(
            module,
            [LIST["source_of"](module)],
            optional=True,
            extra_compile_args=OPTIONS,
            extra_link_args=LINKER_OPTIONS,
        )
        for module in LIST["MODULES"]
    ]


class Compile(build_ext):
    """All modules or none, and the seal last that says from what."""

    def run(self) -> None:
        """Compile into the build folder; where it is done in place, copy from there."""
        if not self.extensions:  # what was compiled before may stay: it has its seal
            return
        root = HERE if self.inplace else Path(self.build_lib)
        seal: Path = LIST["seal_of"](root)
        seal.unlink(missing_ok=True)
        self._digest = ""
        super().run()
        if self._digest:
            seal.parent.mkdir(parents=True, exist_ok=True)
            seal.write_text(self._digest)

    def build_extensions(self) -> None:
        """What `run` calls with the compiler set up. Raises nothing that a compiler can cause."""
        try:
            before: str = LIST["digest"](HERE)
            self._try_compiler()
            stale = {
                one.name: inputs for one, inputs in self._inputs() if self._is_stale(one, inputs)
            }
            self._compile([one for one in self.extensions if one.name in stale])
            if LIST["digest"](HERE) != before:
                raise RuntimeError("the sources changed meanwhile")
            for name, inputs in stale.items():
                self._note(name).write_text(inputs)
            self._digest = before
        except Exception as error:
            for one in self.extensions:
                Path(self.get_ext_fullpath(one.name)).unlink(missing_ok=True)
            self.extensions = []
            print(
                f"The data plane is not compiled and runs interpreted, which costs CPU: {error}; {NEEDED}.",
                file=sys.stderr,
            )

    def _try_compiler(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder, "probe.c")
            probe.write_text("#include <Python.h>\n")
            self.compiler.compile([str(probe)], folder)

    def _inputs(self) -> list[tuple[Extension, str]]:
        """Of each module a digest of all that what is compiled depends on."""
        from Cython import __version__
        from Cython.Build.Dependencies import create_dependency_tree

        tree = create_dependency_tree(quiet=True)
        common = repr((__version__, sys.version, self.compiler.compiler_so)).encode()
        common += Path(__file__).read_bytes()
        found = []
        for one in self.extensions:
            total = hashlib.sha256(common)
            for name in sorted(tree.all_dependencies(LIST["source_of"](one.name))):
                total.update(name.encode() + b"\0" + Path(name).read_bytes())
            found.append((one, total.hexdigest()))
        return found

    def _note(self, name: str) -> Path:
        """Beside the objects: the inputs of what lies in the build folder."""
        return Path(self.build_temp, f"{name}.inputs")

    def _is_stale(self, one: Extension, inputs: str) -> bool:
        note = self._note(one.name)
        built = Path(self.get_ext_fullpath(one.name))
        if built.exists() and note.exists() and note.read_text() == inputs:
            return False
        note.unlink(missing_ok=True)
        return True

    def _compile(self, stale: list[Extension]) -> None:
        from Cython.Build import cythonize

        if not stale:
            return
        jobs = len(os.sched_getaffinity(0))
        print(f"Compiling {len(stale)} modules of the data plane, {jobs} at a time", flush=True)
        self.force = True
        Path(self.build_temp).mkdir(parents=True, exist_ok=True)
        made = cythonize(
            [Extension(one.name, one.sources) for one in stale],
            build_dir="build/cython",
            compiler_directives=DIRECTIVES,
            nthreads=jobs,
            force=True,
            quiet=True,
        )
        for one, written in zip(stale, made, strict=True):
            if one.name != written.name:
                raise RuntimeError(f"{written.name} was compiled in the place of {one.name}")
            one.sources = written.sources
        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(self.build_extension, stale):
                pass


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": Compile})
