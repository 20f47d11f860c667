"""Compiles the modules that `gateway/compiled.py` lists, where Cython and a C compiler are.

Everything else of the build stands in pyproject.toml. Without a compiler the wheel is built all
the same; its modules then run as the Python they are.
"""

import runpy
from pathlib import Path

from setuptools import Extension, setup


def extensions() -> list[Extension]:
    """One for each module, none without Cython."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    modules = runpy.run_path(str(Path(__file__).parent / "gateway" / "compiled.py"))["MODULES"]
    found = [
        Extension(
            module,
            [module.replace(".", "/") + ".py"],
            optional=True,
            extra_compile_args=["-O2", "-fno-strict-aliasing"],
        )
        for module in modules
    ]
    return cythonize(
        found,
        build_dir="build/cython",
        compiler_directives={
            "language_level": 3,
            "annotation_typing": False,
            # As safe as the interpreter: an error there is an error here, never a crash.
            "boundscheck": True,
            "wraparound": True,
            "nonecheck": True,
        },
    )


setup(ext_modules=extensions())
