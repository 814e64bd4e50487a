# The service as a container: `make image` builds it, deploy/compose.yaml runs it, `make image-check` tries it.
#
# PYTHON_IMAGE is where the base is pinned. For a release give it with its digest, as your registry tells it:
#   docker build --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:... .
# Any image with Python 3.11 to 3.13, its venv module and a Debian's user tools will do.
ARG PYTHON_IMAGE=python:3.13-slim

# hadolint ignore=DL3006
# checkov:skip=CKV_DOCKER_7: the tag is in PYTHON_IMAGE
FROM ${PYTHON_IMAGE} AS build

# Two environments: one that installs, and the one that is shipped, which therefore never holds an installer.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/live-memory

# What the service needs comes before the service itself, so that a change of the code downloads nothing again.
COPY requirements.lock /src/
RUN /build/bin/pip --python /opt/live-memory/bin/python install --no-cache-dir --disable-pip-version-check \
      --require-hashes -r /src/requirements.lock

COPY pyproject.toml README.md LICENSE CHANGELOG.md /src/
COPY alembic-free-migrations /src/alembic-free-migrations
COPY app /src/app
# The lock holds the build tool too. It is taken out again, and what is left must still fit together.
RUN /build/bin/pip --python /opt/live-memory/bin/python install --no-cache-dir --no-index --no-deps \
      --no-build-isolation /src && \
    /build/bin/pip --python /opt/live-memory/bin/python uninstall --yes hatchling trove-classifiers pathspec pluggy && \
    /build/bin/pip --python /opt/live-memory/bin/python check

# hadolint ignore=DL3006
# checkov:skip=CKV_DOCKER_7: the tag is in PYTHON_IMAGE
FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="Live Memory" \
      org.opencontainers.image.description="Shared working memory for AI agents, over REST and MCP" \
      org.opencontainers.image.licenses="Apache-2.0"

# The base brings an installer of its own, which a service has no use for. A number that never changes owns the data.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip /usr/local/bin/pip* && \
    groupadd --gid 10001 live-memory && \
    useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin live-memory && \
    install -d -o 10001 -g 10001 -m 0700 /data

COPY --from=build /opt/live-memory /opt/live-memory

# Nothing but /data and /tmp is ever written, so the root file system may be read-only.
ENV PATH=/opt/live-memory/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    LIVE_MEMORY_DATA_DIR=/data \
    MCP_SERVER_HOST=0.0.0.0 \
    MCP_SERVER_PORT=8002 \
    LOG_FORMAT=json

WORKDIR /opt/live-memory
VOLUME ["/data"]
USER 10001:10001
EXPOSE 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["live-memory", "healthcheck"]
ENTRYPOINT ["live-memory"]
CMD ["serve"]
