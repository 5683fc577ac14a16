# The console: page, REST, WHEP and WHIP proxy. No torch, no codecs. Context: the repository root.
#   docker build -f deploy/docker/console.Dockerfile -t semcast-console .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/semcast
WORKDIR /src
# Dependencies first: their layer stays while only semcast's sources change.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY semcast/__init__.py semcast/version.py semcast/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/semcast/bin/python -m pip install -c constraints.txt ".[console]"
COPY semcast semcast
COPY console console
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/semcast/bin/python -m pip install --no-deps --force-reinstall .

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="semcast console" \
      org.opencontainers.image.description="Live page, REST, WHEP and WHIP of semcast" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 semcast \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin semcast
COPY --from=build /opt/semcast /opt/semcast
ENV PATH=/opt/semcast/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8080 9104
STOPSIGNAL SIGTERM
CMD ["python", "-m", "semcast", "serve", "console"]
