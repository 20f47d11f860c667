"""Request heads like those of browsers: ten fields, with varying path, query and cookie."""

from __future__ import annotations

import random
from collections.abc import Sequence

_WORDS = [
    "basket",
    "search",
    "item",
    "offers",
    "account",
    "help",
    "delivery",
    "stock",
    "review",
    "brand",
    "size",
    "colour",
]
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
)
_LANGUAGES = ("en-GB,en;q=0.9", "de-DE,de;q=0.9,en;q=0.7", "fr-FR,fr;q=0.8,en-US;q=0.5")


def browser_heads(
    host: str,
    count: int,
    *,
    cookies: Sequence[str] = (),
    close: bool = False,
    below: str = "",
    upload: int | None = None,
    seed: int = 1,
) -> tuple[bytes, ...]:
    """`count` different heads for `host`, the same ones for the same seed.

    `cookies`: pairs `name=value`, one of which goes behind the browser's other cookies; `below`:
    where all paths begin; `upload`: POST with a body of so many bytes, which the caller sends.
    """
    drawn = random.Random(seed)
    start = f"/{below}/" if below else "/"
    method, length = ("GET", ()) if upload is None else ("POST", (f"Content-Length: {upload}",))
    return tuple(
        _head(host, drawn, cookies, close, f"{method} {start}", length) for _ in range(count)
    )


def _head(
    host: str,
    drawn: random.Random,
    cookies: Sequence[str],
    close: bool,
    start: str,
    more: Sequence[str],
) -> bytes:
    path = "/".join(drawn.choices(_WORDS, k=drawn.randint(1, 4)))
    query = "&".join(
        f"{drawn.choice(_WORDS)}={drawn.getrandbits(32):x}" for _ in range(drawn.randint(1, 3))
    )
    cookie = f"sid={drawn.getrandbits(128):032x}; theme={drawn.choice(('dark', 'light'))}"
    if cookies:
        cookie += f"; {drawn.choice(cookies)}"
    lines = (
        f"{start}{path}?{query} HTTP/1.1",
        f"Host: {host}",
        f"Connection: {'close' if close else 'keep-alive'}",
        f"User-Agent: {drawn.choice(_AGENTS)}",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
        f"Accept-Language: {drawn.choice(_LANGUAGES)}",
        "Accept-Encoding: gzip, deflate, br",
        f"Referer: http://{host}/{drawn.choice(_WORDS)}",
        f"Cookie: {cookie}",
        "Upgrade-Insecure-Requests: 1",
        "Sec-Fetch-Mode: navigate",
        *more,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
