# The receiver on an NVIDIA GPU. Context: the repository root. Needs the NVIDIA Container Toolkit
# where it runs, not where it is built.
#   docker build -f deploy/docker/receiver-cuda.Dockerfile -t semcast-receiver-cuda .
# torch's wheels bring the CUDA libraries they were built for; the base image says which driver the
# container needs, and fails early where the machine's is older.
ARG CUDA_IMAGE=nvidia/cuda:13.0.1-base-ubuntu24.04

FROM ${CUDA_IMAGE} AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/semcast
WORKDIR /src
# Dependencies first: their layer (some GB) stays while only semcast's sources change.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY semcast/__init__.py semcast/version.py semcast/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/semcast/bin/python -m pip install -c constraints.txt ".[media,models]"
COPY semcast semcast
COPY receiver receiver
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/semcast/bin/python -m pip install --no-deps --force-reinstall .

FROM python
LABEL org.opencontainers.image.title="semcast receiver for CUDA" \
      org.opencontainers.image.description="Decoding, generative rendering and WebRTC of semcast on an NVIDIA GPU" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 semcast \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin semcast \
    && install -d -o 10001 -g 10001 /var/cache/semcast /var/cache/semcast/numba
COPY --from=build /opt/semcast /opt/semcast
# See media.Dockerfile for the caches; the base image sets NVIDIA_VISIBLE_DEVICES.
ENV PATH=/opt/semcast/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/var/cache/semcast/numba HF_HOME=/var/cache/semcast/huggingface \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
RUN python -c "from semcast.air.warm import warm_up; warm_up()"
EXPOSE 50053 9103
STOPSIGNAL SIGTERM
CMD ["python", "-m", "semcast", "serve", "receiver"]
