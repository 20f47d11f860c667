"""Environment variables by which a loader, a shell or an interpreter runs other code. Pure.

A template that may not choose a program must not bring one in by these either. The
list can hold only what is widely known; what a program itself does with its own
variables is that program's matter, and the configuration's, which names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_HARMLESS_PYTHON = (
    "ASYNCIODEBUG|COERCECLOCALE|DEVMODE|DONTWRITEBYTECODE|FAULTHANDLER|HASHSEED|INTMAXSTRDIGITS"
    "|IOENCODING|MALLOC|OPTIMIZE|TRACEMALLOC|UNBUFFERED|UTF8|VERBOSE"
)
_RUNS_CODE = re.compile(
    rf"""
    PATH | IFS | LD_.* | DYLD_.* | GCONV_PATH | GLIBC_TUNABLES
    | ENV | BASH_ENV | BASH_FUNC_.* | SHELLOPTS | BASHOPTS | PS4 | PROMPT_COMMAND | ZDOTDIR
    | PYTHON(?!(?:{_HARMLESS_PYTHON})\Z).+
    | NODE_OPTIONS | NODE_PATH | NODE_REPL_EXTERNAL_MODULE
    | PERL5OPT | PERL5LIB | PERLLIB | PERL5DB
    | RUBYOPT | RUBYLIB | GEM_HOME | GEM_PATH | BUNDLE_GEMFILE
    | JAVA_TOOL_OPTIONS | _JAVA_OPTIONS | JDK_JAVA_OPTIONS | CLASSPATH
    | LUA_INIT.* | LUA_PATH.* | LUA_CPATH.*
    | PHPRC | PHP_INI_SCAN_DIR
    | DOTNET_STARTUP_HOOKS | CORECLR_.* | COR_.*
    """,
    re.VERBOSE | re.DOTALL,
)


def code_variables(names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` that may make something else run."""
    return tuple(name for name in names if _RUNS_CODE.fullmatch(name))
