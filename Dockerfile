# The gateway as a container; how to run it: docs/docker.md.
#
#   docker build -t gateway .
#
# Without a registry and a network it is built of what is at hand: any image with a glibc, /bin/sh, a
# Python of 3.11 or later and pip is a base, and wheels/ has what would have been downloaded
# and compiled, for the base's Python.
#
#   python -m pip download --require-hashes --only-binary :all: -d wheels -r requirements.lock
#   python -m pip wheel --no-deps -w wheels .
#   docker build -t gateway --build-arg BASE=my-python --network none .
#
# Wheels made without a C compiler run interpreted; --build-arg DATA_PLANE=interpreted accepts that.
ARG PYTHON=3.13
ARG BASE=python:${PYTHON}-slim

# The environment: pinned, hashed, binary wheels only; then the gateway's own wheel, compiled.
FROM ${BASE} AS build
COPY requirements.lock wheel[s]/*.whl /src/wheels/
RUN python -m venv --without-pip /opt/gateway
RUN if ls /src/wheels/*.whl >/dev/null 2>&1; then exit; fi \
 && apt-get update -q \
 && apt-get install -q -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
ENV PIP="python -m pip --python /opt/gateway/bin/python --disable-pip-version-check --no-cache-dir" \
    PIP_ROOT_USER_ACTION=ignore
RUN if ls /src/wheels/*.whl >/dev/null 2>&1; then \
        $PIP install --no-compile --no-deps --no-index /src/wheels/*.whl; \
    else \
        $PIP install --no-compile --require-hashes --only-binary :all: -r /src/wheels/requirements.lock; \
    fi
COPY pyproject.toml setup.py README.md LICENSE /src/
COPY gateway /src/gateway
COPY admin /src/admin
ARG DATA_PLANE=compiled
RUN if ! ls /src/wheels/release_gateway-*.whl >/dev/null 2>&1; then \
        $PIP wheel --no-deps --no-build-isolation --wheel-dir /src/own /src \
     && $PIP install --no-compile --no-deps --no-index /src/own/*.whl; \
    fi \
 && cd / && /opt/gateway/bin/python -P -c "from gateway import compiled as c; assert c.finding().mode.value == '$DATA_PLANE', c.finding()" \
 && /opt/gateway/bin/python -P -c "import gateway, pathlib as p; at = p.Path(gateway.__file__).parents[1]; old = [f for n in ('gateway', 'admin') for f in p.Path('/src', n).rglob('*.py') if not (i := at / f.relative_to('/src')).exists() or i.read_bytes() != f.read_bytes()]; raise SystemExit('The wheel of the gateway in wheels/ is of other sources than these (%s); make it anew: python -m pip wheel --no-deps -w wheels .' % old[0] if old else 0)" \
 && $PIP uninstall -y cython setuptools

# The image: no compiler, nothing of the environment that can be written, no root.
FROM ${BASE}
RUN echo 'gateway:x:10001:10001::/var/lib/gateway:/bin/false' >>/etc/passwd \
 && echo 'gateway:x:10001:' >>/etc/group \
 && mkdir -p /var/lib/gateway /run/gateway && chmod 0750 /var/lib/gateway \
 && chown 10001:10001 /var/lib/gateway /run/gateway
COPY --from=build /opt/gateway /opt/gateway
COPY config /etc/gateway
# Import all there is, once, as root: whoever runs it cannot keep the bytecode of what it
# imports, nor has a base image the library's, and would compile it at every start.
RUN /opt/gateway/bin/python -P -c 'import importlib as i, pkgutil as p, admin, gateway; [i.import_module(m.name) for of in (admin, gateway) for m in p.walk_packages(of.__path__, of.__name__ + ".") if not m.name.endswith("__main__")]'
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/gateway
USER 10001:10001
# Lock, sockets, database, last snapshot: all that is ever written.
VOLUME /var/lib/gateway
EXPOSE 8080 8081 8082
# Serving, as the workers see it. Not by urllib: this runs every few seconds.
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s CMD \
    ["python", "-ISc", "import socket; s = socket.create_connection(('127.0.0.1', 8082), 2); s.sendall(b'GET /readyz HTTP/1.0\\r\\n\\r\\n'); raise SystemExit(b' 200 ' not in s.recv(64))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["gateway"]
CMD ["run", "-c", "/etc/gateway/container.yaml"]
