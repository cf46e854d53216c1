# The service alone: no build tools, no embedded Valkey, no root.
#   docker build -t authsvc .
#   docker run --env-file authsvc.env authsvc           (serve)
#   docker run --env-file authsvc.env authsvc migrate

FROM python:3.13-slim AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/authsvc \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
# Dependencies first: this layer stays as long as uv.lock does.
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-cache --no-install-project --extra server --extra postgres
COPY . .
RUN uv sync --locked --no-cache --no-editable --extra server --extra postgres

FROM python:3.13-slim
# By number, so that an orchestrator can see that it is not root.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin authsvc
COPY --from=build /opt/authsvc /opt/authsvc
ENV PATH=/opt/authsvc/bin:$PATH \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["authsvc", "health"]
ENTRYPOINT ["authsvc"]
CMD ["serve"]
