# The codec alone, without torch, for linux/amd64 (constriction has no wheel for ARM): docker build -t regrain .
#   docker run --rm --network none --user "$(id -u):$(id -g)" -v "$PWD:/pictures" regrain encode photo.png -q 40
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/regrain \
 && /opt/regrain/bin/python -m pip install --no-cache-dir --disable-pip-version-check --only-binary=:all: . \
 && /opt/regrain/bin/python -m pip uninstall --yes pip

FROM python:${PYTHON}-slim
COPY --from=build /opt/regrain /opt/regrain
ENV PATH=/opt/regrain/bin:$PATH PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=PASSIVE
RUN useradd --create-home --uid 1000 regrain
USER regrain
WORKDIR /pictures
ENTRYPOINT ["regrain"]
CMD ["--help"]
