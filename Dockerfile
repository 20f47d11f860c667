ARG PYTHON=3.13

# The environment: pinned, hashed, binary wheels only; then the gateway's own wheel, compiled.
FROM python:${PYTHON}-slim AS build
RUN apt-get update -q \
 && apt-get install -q -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/gateway
COPY requirements.lock /src/
RUN /opt/gateway/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
        -r /src/requirements.lock
COPY pyproject.toml setup.py README.md LICENSE /src/
COPY gateway /src/gateway
COPY admin /src/admin
RUN /opt/gateway/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /src \
 && /opt/gateway/bin/pip install --no-deps --no-index /wheels/*.whl \
 && cd / && /opt/gateway/bin/python -P -c "from gateway import compiled as c; assert c.finding().mode is c.Mode.COMPILED, c.finding()" \
 && /opt/gateway/bin/python -m compileall -q /opt/gateway \
 && /opt/gateway/bin/pip uninstall -y cython setuptools pip

# The image: no compiler, no pip, no root.
FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/gateway --create-home --skel /dev/null gateway
COPY --from=build /opt/gateway /opt/gateway
COPY config /etc/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /var/lib/gateway
USER gateway
VOLUME /var/lib/gateway
EXPOSE 8080 8081 8082
# Serving, as the workers see it; the admin API stays on loopback and its socket.
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8082/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["gateway"]
CMD ["run", "-c", "/etc/gateway/container.yaml"]
