# pixelwise for CPUs, about 1.8 GB, of which PyTorch is 0.75 GB:
#     docker build -t pixelwise .
#     docker run --rm -it -v "$PWD:/work" --user "$(id -u):$(id -g)" pixelwise train leaves --out runs/leaves
FROM python:3.13-slim AS build

WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/pixelwise
ENV PATH=/opt/pixelwise/bin:$PATH
# First, so that a change of the code does not install it again. The builds on PyPI need 3 GB of CUDA libraries.
# hadolint ignore=DL3013
RUN pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE ./
COPY src src
# hadolint ignore=DL3013
RUN pip install '.[coco,encoders,heic,parquet,tiff]'

FROM python:3.13-slim

LABEL org.opencontainers.image.title="pixelwise" \
      org.opencontainers.image.source="https://github.com/pixelwise/pixelwise" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/pixelwise /opt/pixelwise
# The container may run as any user, so its home directory can be written by all.
RUN useradd --uid 1000 --create-home --home-dir /home/pixelwise --shell /usr/sbin/nologin pixelwise \
    && chmod 1777 /home/pixelwise
ENV PATH=/opt/pixelwise/bin:$PATH HOME=/home/pixelwise PYTHONDONTWRITEBYTECODE=1
USER 1000
WORKDIR /work
ENTRYPOINT ["pixelwise"]
CMD ["--help"]
