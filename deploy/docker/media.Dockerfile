# Transmitter, and the receiver of a machine without a GPU. Context: the repository root.
#   docker build -f deploy/docker/media.Dockerfile -t semcast-media .
# MODELS=1 adds torch and the neural generators. The index of pip.conf decides which torch: name a
# CPU-only index there, or the image grows by the CUDA libraries that the default one brings.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG MODELS=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/semcast
WORKDIR /src
# Dependencies first: their layer stays while only semcast's sources change.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY semcast/__init__.py semcast/version.py semcast/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    extras=media; if [ "$MODELS" = 1 ]; then extras=media,models; fi; \
    /opt/semcast/bin/python -m pip install -c constraints.txt ".[$extras]"
COPY semcast semcast
COPY transmitter transmitter
COPY receiver receiver
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/semcast/bin/python -m pip install --no-deps --force-reinstall .

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="semcast transmitter and CPU receiver" \
      org.opencontainers.image.description="Sources, codecs and WebRTC of semcast, without a GPU" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 semcast \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin semcast \
    && install -d -o 10001 -g 10001 /var/cache/semcast /var/cache/semcast/numba
COPY --from=build /opt/semcast /opt/semcast
# numba passes over a cache folder it cannot write to, so at run time this one is a volume; that
# starts as a copy of what is compiled here.
ENV PATH=/opt/semcast/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/var/cache/semcast/numba HF_HOME=/var/cache/semcast/huggingface
USER 10001:10001
# Compiled for this processor; on another kind numba compiles again, once.
RUN python -c "from semcast.air.warm import warm_up; warm_up()"
EXPOSE 50051 50053 9101 9103
STOPSIGNAL SIGTERM
CMD ["python", "-m", "semcast", "serve", "receiver"]
