# Two images from one recipe: `worker` (the default: contracts, router, Faust worker) and `demo` (with the models).
# Every package comes by its hash from a lock; `make lock` writes them from the same resolution as the tests use.
ARG PYTHON=3.11.13-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock deploy/worker.lock ./
RUN python -m venv /opt/paritygate \
 && /opt/paritygate/bin/pip install --require-hashes --no-deps -r worker.lock \
 && awk '/^[a-z]/ { mine = /^setuptools==/ } mine' requirements.lock > setuptools.lock \
 && pip install --require-hashes --no-deps -r setuptools.lock
# .dockerignore lets through the rooms, the address book and the build settings, nothing else.
COPY . .
RUN pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheel . \
 && /opt/paritygate/bin/pip install --no-deps --no-index /wheel/*.whl
# Machine code for a processor like the one that builds, beside the package: containers are read-only. On another one
# a worker compiles for itself, for about fifteen seconds at each start.
RUN /opt/paritygate/bin/python -c "from paritygate.streams.warm import warm_up; warm_up()"

FROM build AS build-demo
RUN /opt/paritygate/bin/pip install --require-hashes --no-deps -r deploy/demo.lock

FROM python:${PYTHON} AS base
RUN groupadd --gid 10001 paritygate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/paritygate --shell /usr/sbin/nologin paritygate \
 && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/paritygate
ENV PATH=/opt/paritygate/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/var/lib/paritygate
WORKDIR /var/lib/paritygate
ENTRYPOINT ["paritygate"]

FROM base AS demo
COPY --from=build-demo /opt/paritygate /opt/paritygate
USER 10001:10001
CMD ["demo"]

FROM base AS worker
COPY --from=build /opt/paritygate /opt/paritygate
USER 10001:10001
CMD ["worker"]
