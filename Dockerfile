# The production image: one for the API, the workers, the scheduler, migrations and backups.
# The digest pins the base; `docker buildx imagetools inspect python:3.13-slim-trixie` shows the newest.
ARG PYTHON_IMAGE=python:3.13-slim-trixie@sha256:ffb752e139c0a19692a43af8d8523b274222dd68eebad5d583b45c2201c6e30a

FROM ${PYTHON_IMAGE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/runtime.lock requirements/build.lock requirements/
RUN python -m venv /opt/cashflow && /opt/cashflow/bin/pip install --require-hashes -r requirements/runtime.lock \
 && python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements/build.lock
COPY setup.py pyproject.toml MANIFEST.in README.md ./
COPY ext ext
COPY engine engine
COPY api api
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/cashflow/bin/pip install --no-deps --no-index /wheels/*.whl \
 && /opt/cashflow/bin/python -m compileall -q /opt/cashflow/lib \
 && /opt/cashflow/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
# pg_dump and pg_restore for backups; Debian 13 has those of PostgreSQL 17.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 cashflow && useradd --uid 10001 --gid cashflow --no-create-home --shell /usr/sbin/nologin cashflow \
 && install -d -o cashflow -g cashflow /data /backups
COPY --from=build /opt/cashflow /opt/cashflow
# Without bytecode writing, and with state under /data and /tmp only, the root file system may be read-only.
ENV PATH=/opt/cashflow/bin:$PATH PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    ENV=production HOST=0.0.0.0 PORT=8000 STATE_DIR=/data HOME=/tmp
WORKDIR /data
# Mounted without a host's folder they keep the owner that they have here; Fargate gives them to root otherwise.
VOLUME ["/data", "/tmp"]
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=4)"]
ENTRYPOINT ["cashflow"]
CMD ["serve"]
