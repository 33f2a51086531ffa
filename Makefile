# What a developer types; `make ci` is all that CI runs. ARGS is passed on: make demo ARGS=--once

# A build needs no database: what it knows of each SQL query is in .sqlx.
export SQLX_OFFLINE = true

# Tells the service and its tests where PostgreSQL's programs are, and gets them where there are none.
postgres = PERENNIAL_PG_BIN_DIR=$$(scripts/ensure-postgres) && export PERENNIAL_PG_BIN_DIR

.NOTPARALLEL:
.PHONY: help run demo test chaos fuzz fuzz-api s3 bench bench-serving bench-train bench-peers bench-learning ci fmt clippy doc deny \
	sqlx-check sqlx-prepare proto-check proto openapi tools

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 22

run: tools ## the service on 127.0.0.1:8080, in DATABASE_URL or else a private PostgreSQL
	{ [ -n "$$DATABASE_URL" ] || { $(postgres); }; } && cargo run --release -- serve $(ARGS)

demo: tools ## a model that learns, batch by batch: MODEL=tabular (digits, the default), text or images
	$(postgres) && cargo run --release -- demo $(if $(MODEL),--model $(MODEL)) $(ARGS)

test: tools ## every test
	$(postgres) && cargo test $(ARGS)

chaos: tools ## 200 kills of every process while clients send and predict, some minutes; KILLS=50 SEED=7
	$(postgres) && PERENNIAL_CHAOS_KILLS=$(or $(KILLS),200) PERENNIAL_CHAOS_SEED=$(or $(SEED),0) \
		cargo test --test chaos -- --nocapture

fuzz: tools ## whatever bytes, texts, images and tensors may come, asked of what reads them: CASES=1000000
	CASES=$(or $(CASES),100000) scripts/fuzz

fuzz-api: tools ## whatever openapi.yaml allows, and more, asked of a service: SECONDS_EACH=600 SEED=7
	# The binary as the tests have it, so that it is built once.
	$(postgres) && cargo test --no-run --test binary && scripts/fuzz-api

s3: tools ## checkpoints in a bucket, tested against a real S3 server that this installs
	# The newest that Rust 1.95 builds.
	cargo install --locked --debug --root target/tools --target-dir target/tools/build \
		s3s-fs --version 0.14.1 --features binary
	$(postgres) && PERENNIAL_S3_SERVER=$$PWD/target/tools/bin/s3s-fs \
		cargo test --features s3 --test s3

bench: tools ## every benchmark of speed; ARGS='--bench end_to_end -- memory' for some of it
	$(postgres) && cargo bench $(or $(ARGS),--bench end_to_end --bench overload --bench serving --bench training)

bench-serving: tools ## predictions: how many, how soon; ARGS='speed training swapping' for some of it
	$(postgres) && cargo bench --bench serving -- $(ARGS)

bench-train: tools ## training, beside PyTorch and scikit-learn where python3 has them, or PERENNIAL_PEERS=a/python
	mkdir -p target && BENCH_POINTS=$$PWD/target/points cargo bench --bench training
	scripts/train-peers target/points

bench-peers: tools ## predictions, beside PyTorch behind FastAPI and MLServer, which this installs in target/peers
	[ -x target/peers/bin/python ] || python3 -m venv target/peers
	target/peers/bin/pip install --quiet --timeout 20 --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu \
		torch fastapi uvicorn mlserver
	$(postgres) && PERENNIAL_PEERS=$$PWD/target/peers/bin/python cargo bench --bench serving -- peers

bench-learning: tools ## what updates learn and forget, in hours; ARGS='split --seeds 1 --only auto' for less
	$(postgres) && cargo bench --bench learning -- $(ARGS)

ci: fmt sqlx-check proto-check deny clippy doc fuzz-api test ## every check, the tests last

fmt: tools ## is the code formatted?
	cargo fmt --check

clippy: tools ## does the compiler or clippy warn of anything?
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --features s3 --lib --bins --test s3 -- -D warnings

doc: tools ## does the documentation build without a warning?
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items

deny: tools ## are the dependencies, their licences and sources those that deny.toml allows, each in one version?
	scripts/deny

sqlx-check: tools ## does .sqlx say what the queries and migrations say?
	scripts/sqlx-prepare --check

proto-check: tools ## do proto/inference.rs and inference.bin say what inference.proto says?
	scripts/generate-proto --check

proto: tools ## write them anew, after a change of inference.proto
	scripts/generate-proto

openapi: tools ## write openapi.yaml anew, after a change of the wire
	cargo run --quiet -- openapi > openapi.yaml.new && mv openapi.yaml.new openapi.yaml

sqlx-prepare: tools ## write .sqlx anew, after a change of a query or a migration
	scripts/sqlx-prepare

tools:
	@scripts/ensure-rust
