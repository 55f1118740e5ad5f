# ganeval and its weights-free networks. The wheels of PyTorch for Linux run on NVIDIA GPUs and on the CPU:
#   docker build -t ganeval .
#   docker run --rm -v "$PWD:/data" ganeval fid real/ fake/ --protocol compact
#   docker run --rm --gpus all -v "$PWD:/data" -v ganeval-weights:/weights ganeval fid real/ fake/
# For a smaller image without CUDA, build with the index of PyTorch's CPU wheels:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=ADDRESS -t ganeval:cpu .
FROM python:3.12-slim

ARG PIP_EXTRA_INDEX_URL=
ARG EXTRAS=dinov2,clip,imagenet

COPY . /src
RUN python -m pip install --no-cache-dir "/src[$EXTRAS]" && rm -rf /src
RUN ganeval --version && ganeval kid dataset:shapes dataset:shapes-striped --num-samples 50 --protocol compact

ENV GANEVAL_WEIGHTS_DIR=/weights TORCH_HOME=/weights
RUN useradd --create-home ganeval && mkdir -p /weights /data && chown ganeval /weights /data
USER ganeval
WORKDIR /data
VOLUME ["/weights"]
ENTRYPOINT ["ganeval"]
CMD ["--help"]
