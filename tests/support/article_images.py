"""The article's images under its own names, built on the spot: its programs, letter for letter, with Flask.

What it shows but for two things: the line that has a comment of another language in it is left out, and
the second version of serviceA, which it does not show, says another word.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from .docker_engine import BUSYBOX, Engine
from .wheels import wheels_of_package

HELLO = "registry-internal.cn-hangzhou.aliyuncs.com/ringtail/demo-service-"
NGINX = "registry.aliyuncs.com/ringtail/nginx:"
WORDS = {"1.0": "world!", "2.0": "new world!"}
GREETINGS = {"1.0": "Hello ", "2.0": "Welcome to the "}
PAGES = {version: f"Welcome to nginx! version {version} " for version in ("1.0", "2.0")}

_FLASK = "gateway-test/flask:1"

_SERVICE_A = """
from flask import Flask
app = Flask(__name__)

@app.route('/')
def world():
  return '{}'

if __name__ == '__main__':
  app.run(port=5000,debug=True,host='0.0.0.0')
"""

_SERVICE_B = """
from flask import Flask
import requests
import os

dep_endpoint = os.getenv('dep_endpoint');

app = Flask(__name__)

@app.route('/')
def hello():
  msg = requests.get(dep_endpoint);
  return '{}' + msg.text;

if __name__ == '__main__':
  app.run(port=5001,debug=True,host='0.0.0.0')
"""

# As process 1 a program without a handler is not ended by TERM.
_SERVE = 'trap "exit 0" TERM; httpd -f -p 80 -h /html & wait'


def build_nginx(engine: Engine) -> None:
    """Both versions of the static page."""
    for version, page in PAGES.items():
        dockerfile = f'FROM {BUSYBOX}\nCOPY html /html\nCOPY run /\nCMD ["sh", "/run"]\n'
        files = {"html/index.html": page, "run": _SERVE}
        engine.build(NGINX + version, dockerfile, files)


def build_hello(engine: Engine) -> None:
    """Both versions of serviceA and serviceB, on an image with Flask and requests."""
    with tempfile.TemporaryDirectory(prefix="gww") as folder:
        wheels = Path(folder)
        wheels_of_package("flask", wheels)
        wheels_of_package("requests", wheels)
        dockerfile = (
            f"FROM {engine.python}\nCOPY wheels /wheels\n"
            "RUN python -m pip install --no-index --find-links /wheels flask requests\n"
        )
        engine.build(_FLASK, dockerfile, {"wheels": wheels})
    for letter, program, said in ("a", _SERVICE_A, WORDS), ("b", _SERVICE_B, GREETINGS):
        for version, words in said.items():
            dockerfile = f'FROM {_FLASK}\nCOPY app.py /\nCMD ["python", "/app.py"]\n'
            engine.build(
                f"{HELLO}{letter}:{version}", dockerfile, {"app.py": program.format(words)}
            )
