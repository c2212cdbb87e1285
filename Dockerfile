# The exporter in a virtual environment on a Python image, without pip. See docs/image.md.
#
# The base is pinned by the digest of its index, so that every architecture finds its own image below it.
ARG BASE=python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285

# Tag and digest are in the argument, here and below.
# hadolint ignore=DL3006
FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_REQUIRE_HASHES=1 \
    PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /build \
 && python3 -m venv --without-pip /opt/damon-exporter

WORKDIR /src
COPY requirements-image.lock ./
RUN /build/bin/pip install --no-compile --requirement requirements-image.lock
COPY requirements.lock ./
RUN /build/bin/pip --python /opt/damon-exporter/bin/python install --requirement requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY damon_exporter damon_exporter
# What is built here has no hash to require. Without write bits nobody can change it, not even root without capabilities.
RUN /build/bin/hatchling build --target wheel --directory /wheel \
 && PIP_REQUIRE_HASHES=0 /build/bin/pip --python /opt/damon-exporter/bin/python install --no-index --no-deps /wheel/*.whl \
 && /build/bin/cyclonedx-py environment --output-reproducible --output-file /opt/damon-exporter/sbom.cdx.json \
        /opt/damon-exporter/bin/python \
 && chmod -R a-w /opt/damon-exporter

# Without pip there is one thing less that could change what runs.
# hadolint ignore=DL3006
FROM ${BASE}
RUN python3 -m pip uninstall --yes --root-user-action=ignore pip \
 && rm -r "$(python3 -c 'import ensurepip; print(*ensurepip.__path__)')"
COPY --from=build /opt/ /opt/
ENV PATH=/opt/damon-exporter/bin:$PATH

# Only root may open DAMON's files, whose modes are 0600 and 0400, and it needs no capability. The demo runs as anybody.
# hadolint ignore=DL3002
USER 0
WORKDIR /
EXPOSE 10555
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python3", "-c", "import http.client as web; exporter = web.HTTPConnection('127.0.0.1', 10555, timeout=4); \
exporter.request('GET', '/-/healthy'); raise SystemExit(exporter.getresponse().status != 200)"]
ENTRYPOINT ["/opt/damon-exporter/bin/damon-exporter"]

# Last, as they change with every commit.
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="damon-exporter" \
      org.opencontainers.image.description="Linux DAMON access monitoring as Prometheus metrics" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
