# unetkit as an image: the command with everything that it can use, run by a user without rights.
#
#   docker build -t unetkit .                              for CPUs
#   docker build -t unetkit:cuda --build-arg DEVICE=cuda . for NVIDIA GPUs: docker run --gpus all ...
#   docker run --rm -v "$PWD:/work" unetkit train isbi --data data/isbi2012 --out runs/first

# FROM_IMAGE_NAME is another image to build on, as of the MindSpore model zoo: a Debian or Ubuntu with Python 3.11 or
# newer and its venv:  docker build -t unetkit --build-arg FROM_IMAGE_NAME=my-registry/python:3.11 .

ARG PYTHON=3.11.13-slim-bookworm
ARG FROM_IMAGE_NAME=python:${PYTHON}

FROM ${FROM_IMAGE_NAME} AS build
ARG DEVICE=cpu
ARG TORCH=2.13.0
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python3 -m venv /opt/unetkit
# PyPI's build of torch is the one for CUDA; PyTorch's own index has one for CPUs, a tenth as large.
RUN if [ "$DEVICE" = cpu ]; then index="--index-url https://download.pytorch.org/whl/cpu"; fi; \
    /opt/unetkit/bin/pip install --constraint constraints.txt $index "torch==$TORCH"
RUN /opt/unetkit/bin/pip install --constraint constraints.txt '.[coco,onnx,openvino,s3,tensorboard]'
RUN find /opt/unetkit -name __pycache__ -type d -prune -exec rm -rf {} +

FROM ${FROM_IMAGE_NAME} AS run
COPY --from=build /opt/unetkit /opt/unetkit
# Ubuntu's images have a user 1000 already.
RUN useradd --create-home --non-unique --uid 1000 unetkit && install -d -o unetkit -g unetkit /work
ENV PATH=/opt/unetkit/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib
USER unetkit
WORKDIR /work
HEALTHCHECK --interval=60s --timeout=20s --start-period=20s CMD ["python3", "-c", "import torch, unetkit"]
ENTRYPOINT ["unetkit"]
CMD ["--help"]
