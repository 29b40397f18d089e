# syntax=docker/dockerfile:1

# docker build -t rerun-http .
FROM rust:1.95-slim-bookworm AS build
# Perl and make build OpenSSL, which is compiled in: the image that runs needs no libraries.
# Unpinned, for the newest fixes of the distribution.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential perl make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY crates crates
COPY migrations migrations
# What was downloaded and compiled stays in the builder's caches; the binary must not.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --release --package rerun-server --features static-tls \
    && install -D --mode 755 target/release/rerun-http /out/rerun-http

FROM debian:bookworm-slim
# Root certificates are for the language model's endpoint and for PostgreSQL with `verify-full`.
# Unpinned, for the newest fixes of the distribution.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 rerun \
    && useradd --system --uid 10001 --gid rerun --no-create-home --shell /usr/sbin/nologin rerun \
    && install --directory --owner rerun --group rerun --mode 700 /data
COPY --from=build /out/rerun-http /usr/local/bin/rerun-http
USER 10001:10001
WORKDIR /data
VOLUME /data
ENV RERUN_BIND=0.0.0.0:8080 \
    RERUN_DATABASE_URL=sqlite:///data/rerun.db \
    RERUN_LOG_FORMAT=json
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["rerun-http", "health"]
ENTRYPOINT ["rerun-http"]
CMD ["serve"]
