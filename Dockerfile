FROM rust:1.95-bookworm AS build
WORKDIR /build
ENV SQLX_OFFLINE=true

# The dependencies, in a layer that changes only with them: built for an empty program, so the
# targets that the manifest names one by one are left out of it.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[/,/^$/d' Cargo.toml \
    && mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --features s3

COPY . .
# Nine tenths of the binary would be line numbers for debuggers; backtraces name functions without.
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --features s3 \
    && strip --strip-debug target/release/perennial

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /var/lib/perennial --shell /usr/sbin/nologin perennial
COPY --from=build /build/target/release/perennial /usr/local/bin/

USER perennial
WORKDIR /var/lib/perennial
VOLUME /var/lib/perennial
ENV PERENNIAL_LISTEN=0.0.0.0:8080 PERENNIAL_DATA_DIR=/var/lib/perennial
# gRPC's port is there where PERENNIAL_GRPC_LISTEN says so.
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["perennial", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["perennial"]
CMD ["serve"]
