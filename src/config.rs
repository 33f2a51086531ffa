//! Every setting once: its flag, its environment variable, its line in `perennial.toml`, its
//! default and what it costs. `--help` prints this page.
//!
//! A flag wins over the environment, the environment over the file. The file's lines become the
//! defaults of the flags, so nothing else here needs to know of it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::learning::Device;
use crate::postgres;

mod keys;
mod origin;

pub use keys::{KeyAction, KeyArgs, NewKeyArgs};

/// A service whose models keep learning from labelled batches, and do not forget.
#[derive(Debug, Parser)]
#[command(name = "perennial", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer HTTP requests and run updates, in one process.
    Serve(ServeArgs),
    /// Run updates only; give it the database and checkpoint store that `serve` has.
    Worker(Settings),
    /// Bring the database's schema up to date, and end.
    Migrate(Settings),
    /// Watch a model learn: start a service, stream handwritten digits to it, leave it running.
    Demo(DemoArgs),
    /// Make, list and end the keys that open the service. Works beside a running service, given the
    /// same database or data directory.
    Key(KeyArgs),
    /// Print the OpenAPI document as YAML.
    Openapi,
    /// Ask a running service whether it is ready: exit code 0 if so, 1 if not.
    Health(HealthArgs),
}

/// Settings of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Only answer requests; updates wait for a `perennial worker`.
    #[arg(long)]
    pub no_worker: bool,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the flattened settings"
    )]
    pub settings: Settings,
}

/// Settings of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// What the model learns.
    #[arg(long, value_enum, default_value = "tabular")]
    pub model: DemoModel,
    /// End when the demonstration is over, instead of leaving the service running.
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "a comment here would replace the help of the flattened settings"
    )]
    pub settings: Settings,
}

/// What a model of the demonstration learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoModel {
    /// Handwritten digits as rows of numbers, two new ones at a time.
    Tabular,
    /// Questions to a bank, five new intents at a time.
    Text,
    /// Handwritten digits as pictures, in one style after another.
    Images,
}

/// Settings of `health`.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// Where the service listens.
    #[arg(long, env = "PERENNIAL_LISTEN", default_value = DEFAULT_LISTEN)]
    pub listen: SocketAddr,
    /// Certificate that the service has, if it has one: its connections are encrypted then.
    #[arg(long, env = "PERENNIAL_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
}

const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// What the service runs by.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// File of settings, a line each: `max_body_bytes = 1073741824`. Default: perennial.toml here,
    /// if there is one.
    #[arg(long, env = "PERENNIAL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, env = "PERENNIAL_LISTEN", default_value = DEFAULT_LISTEN)]
    pub listen: SocketAddr,
    /// Address to answer gRPC on (the Open Inference Protocol); port 0 takes a free one. Unset: gRPC is not
    /// answered.
    #[arg(long, env = "PERENNIAL_GRPC_LISTEN", value_name = "ADDRESS")]
    pub grpc_listen: Option<SocketAddr>,
    /// Listen on an address that other machines reach even while there are no keys (`perennial key
    /// create` makes them): whoever reaches it may then read, write and delete everything.
    #[arg(long, env = "PERENNIAL_ALLOW_OPEN_ACCESS", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub allow_open_access: bool,
    /// Origin of web pages that may ask this service and read its answers (CORS), such as
    /// `https://app.example`; may be given several times, in the environment and the file with commas between.
    /// Unset: browsers keep all answers from pages of other origins.
    #[arg(long, env = "PERENNIAL_CORS_ORIGINS", value_name = "ORIGIN", value_delimiter = ',', value_parser = origin::parse)]
    pub cors_origin: Vec<String>,
    /// PostgreSQL 14 or later, `postgres://user:password@host/database`. Unset: the service runs a
    /// private PostgreSQL of its own under the data directory.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Connections to the database at most, beside one for notices and one per running update.
    #[arg(long, env = "PERENNIAL_DATABASE_CONNECTIONS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub database_connections: u32,
    /// Do not change the database's schema: refuse to start while it is not up to date.
    #[arg(long, env = "PERENNIAL_NO_MIGRATE", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub no_migrate: bool,
    /// Directory of everything the service keeps on this machine: checkpoints, the private
    /// PostgreSQL, bodies of requests in flight. Default: /var/lib/perennial for root, else
    /// $XDG_DATA_HOME/perennial or ~/.local/share/perennial.
    #[arg(long, env = "PERENNIAL_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Directory of PostgreSQL's own programs (initdb, postgres), for the private PostgreSQL, where
    /// they are not found by themselves.
    #[arg(long, env = "PERENNIAL_PG_BIN_DIR", value_name = "DIR")]
    pub pg_bin_dir: Option<PathBuf>,
    /// Where checkpoints are kept: `file:///some/dir`, or `s3://bucket/prefix` in a build with the feature s3,
    /// with region, keys and endpoint from AWS's environment variables. Default: `checkpoints` in the
    /// data directory. All processes on one database must have the same.
    #[arg(long, env = "PERENNIAL_CHECKPOINT_URL", value_name = "URL")]
    pub checkpoint_url: Option<String>,
    /// Seconds, and one more for every MiB, after which a checkpoint store that does not answer is given up: what
    /// needs it fails, and is tried again later.
    #[arg(long, env = "PERENNIAL_STORE_TIMEOUT_S", default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub store_timeout_s: u32,
    /// Longest body of a request, after decompression. A batch costs that much disk under the data
    /// directory while it is read, and little memory (JSON: as much memory too).
    #[arg(long, env = "PERENNIAL_MAX_BODY_BYTES", default_value_t = 64 << 20, value_name = "BYTES")]
    pub max_body_bytes: u64,
    /// Certificates for encrypted connections (PEM, the service's own first), with --tls-key. A changed file
    /// is taken up within seconds. Unset: connections are not encrypted.
    #[arg(long, env = "PERENNIAL_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The key of the first certificate, PEM.
    #[arg(long, env = "PERENNIAL_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Connections open at a time, a few KiB each; further ones wait.
    #[arg(long, env = "PERENNIAL_MAX_CONNECTIONS", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,
    /// Seconds that a client may let the service wait: for a piece of a batch or for the rest of a line of a
    /// stream, beyond what 1 KiB a second earns it, and until it takes 64 KiB more of an answer. What a
    /// slower one holds is let go of.
    #[arg(long, env = "PERENNIAL_CLIENT_TIMEOUT_S", default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub client_timeout_s: u32,
    /// Requests answered at a time; further ones get 503.
    #[arg(long, env = "PERENNIAL_MAX_REQUESTS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_requests: u32,
    /// Requests a minute that are answered of one key, or of one address where there are no keys; further
    /// ones get 429. 0: no limit.
    #[arg(long, env = "PERENNIAL_REQUESTS_PER_MINUTE", default_value_t = 0)]
    pub requests_per_minute: u32,
    /// Clients that may follow updates at a time (server-sent events); further ones get 503. Each costs
    /// an open connection, and a file descriptor of this process.
    #[arg(long, env = "PERENNIAL_MAX_LISTENERS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_listeners: u32,
    /// Memory for versions that answer predictions; those least used go first and come back when
    /// asked for.
    #[arg(long, env = "PERENNIAL_SERVING_BYTES", default_value_t = 1 << 30, value_name = "BYTES")]
    pub serving_bytes: u64,
    /// What computes while training: flex is the fast one; ndarray is kept for comparison.
    #[arg(long, env = "PERENNIAL_DEVICE", default_value = "flex", value_enum)]
    pub device: DeviceName,
    /// Updates that run at a time, each of another model.
    #[arg(long, env = "PERENNIAL_WORKERS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Cores that training may use, shared by all running updates. Default: half of them. Beside requests it
    /// takes what these leave, which may be nothing; in a worker of its own (`perennial worker`) it is only nicer.
    #[arg(long, env = "PERENNIAL_TRAINING_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub training_threads: Option<u16>,
    /// Memory that one update may take. A sixteenth of it is filled with new samples at most, further
    /// ones wait for the next update; a network that does not fit fails with that reason. Where fewer than
    /// 2,300 samples fit, labels that turn at once may be refused for good. The default is enough for about
    /// 60 million weights.
    #[arg(long, env = "PERENNIAL_UPDATE_BYTES", default_value_t = 4 << 30, value_name = "BYTES", value_parser = clap::value_parser!(u64).range((64 << 20)..))]
    pub update_bytes: u64,
    /// Seconds after which the update of a worker that gave no sign of life is taken over.
    #[arg(long, env = "PERENNIAL_LEASE_S", default_value_t = 45, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub lease_s: u32,
    /// Runs of one update that may fail before it is given up. One that finds the database or the checkpoint store away does
    /// not count: the update waits until it is back.
    #[arg(long, env = "PERENNIAL_MAX_FAILURES", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub max_failures: u16,
    /// Seconds after which a checkpoint that nothing names, as a process leaves that dies in the midst of
    /// publishing, is removed. Longer than any update takes to publish.
    #[arg(long, env = "PERENNIAL_ORPHAN_AGE_S", default_value_t = 86_400, value_name = "SECONDS")]
    pub orphan_age_s: u64,
    /// Days that predictions are remembered, where clients ask for it, for labels that may still come. Each is
    /// about as large as its input.
    #[arg(long, env = "PERENNIAL_PREDICTION_DAYS", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub prediction_days: u16,
    /// What to log, in tracing's filter syntax.
    #[arg(long, env = "PERENNIAL_LOG", default_value = "info,sqlx=warn", value_name = "FILTER")]
    pub log: String,
    /// How to log it.
    #[arg(long, env = "PERENNIAL_LOG_FORMAT", default_value = "text", value_enum)]
    pub log_format: LogFormat,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// burn's flex.
    Flex,
    /// burn's ndarray.
    Ndarray,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: a JSON object a line.
    Json,
}

impl Settings {
    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(postgres::default_data_dir)
    }

    /// What computes.
    pub fn device(&self) -> Device {
        match self.device {
            DeviceName::Flex => Device::Flex,
            DeviceName::Ndarray => Device::NdArray,
        }
    }

    /// Cores that training may use.
    pub fn training_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.training_threads.map_or((cores / 2).max(1), usize::from)
    }
}

impl Cli {
    /// Reads the command line `args`, the environment and the settings file.
    ///
    /// # Errors
    /// A usage error, which knows how to print itself and its exit code (2; 0 for `--help`).
    pub fn read(args: Vec<OsString>) -> Result<Self, clap::Error> {
        // Settings may stand before or after what is to be done with keys.
        let command =
            Self::command().mut_subcommand("key", |key| key.mut_args(|arg| arg.global(true)));
        let command = match find_file(&args) {
            Some(file) => with_file(command, &file)?,
            None => command,
        };
        Self::from_arg_matches(&command.try_get_matches_from(args)?)
    }
}

/// The settings file: named by a flag or the environment, else perennial.toml where it is there.
fn find_file(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        if text == "--config" {
            return args.next().map(PathBuf::from);
        }
        if let Some(file) = text.strip_prefix("--config=") {
            return Some(PathBuf::from(file));
        }
    }
    let default = || Some(PathBuf::from("perennial.toml")).filter(|file| file.exists());
    std::env::var_os("PERENNIAL_CONFIG").map(PathBuf::from).or_else(default)
}

/// Makes the file's lines the defaults of the flags of the same name.
fn with_file(mut cli: clap::Command, file: &Path) -> Result<clap::Command, clap::Error> {
    let refuse = |cli: &mut clap::Command, why: String| {
        cli.error(clap::error::ErrorKind::ValueValidation, format!("{}: {why}", file.display()))
    };
    let table: Result<toml::Table, String> = std::fs::read_to_string(file)
        .map_err(|error| error.to_string())
        .and_then(|text| text.parse().map_err(|error: toml::de::Error| error.to_string()));
    let table = match table {
        Ok(table) => table,
        Err(why) => return Err(refuse(&mut cli, why)),
    };
    let flags = ServeArgs::augment_args(clap::Command::new("serve"));
    for (key, value) in table {
        if !flags.get_arguments().any(|arg| arg.get_id() == key.as_str()) {
            return Err(refuse(&mut cli, format!("there is no setting named {key}")));
        }
        let value = match value {
            toml::Value::String(text) => text,
            other => other.to_string(),
        };
        let names: Vec<String> =
            cli.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for name in names {
            let (key, value) = (key.clone(), value.clone());
            cli = cli.mut_subcommand(name, |command| {
                let is_known = command.get_arguments().any(|arg| arg.get_id() == key.as_str());
                match is_known {
                    true => command.mut_arg(key, |arg| arg.default_value(value)),
                    false => command,
                }
            });
        }
    }
    Ok(cli)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(args: &[&str]) -> Result<Settings, clap::Error> {
        let args = ["perennial", "serve"].iter().chain(args).map(OsString::from).collect();
        match Cli::read(args)?.command {
            Command::Serve(serve) => Ok(serve.settings),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("perennial.toml");
        std::fs::write(&file, "workers = 3\nmax_requests = 7\nno_migrate = true\n").unwrap();
        let file = file.to_str().unwrap();
        let read = settings(&["--config", file, "--workers", "5"]).unwrap();
        assert_eq!((read.workers, read.max_requests, read.no_migrate), (5, 7, true));
        assert_eq!(settings(&[]).unwrap().workers, 1);
    }

    #[test]
    fn origins_may_be_given_one_by_one_or_with_commas_between() {
        let two = ["https://a.example".to_owned(), "http://localhost:3000".to_owned()];
        let flags = ["--cors-origin", &two[0], "--cors-origin", &two[1]];
        assert_eq!(settings(&flags).unwrap().cors_origin, two);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.toml");
        std::fs::write(&file, format!("cors_origin = \"{}\"", two.join(","))).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(settings(&["--config", file]).unwrap().cors_origin, two);
        assert!(settings(&["--cors-origin", "*"]).is_err());
        assert!(settings(&[]).unwrap().cors_origin.is_empty());
    }

    #[test]
    fn a_file_with_an_unknown_or_wrong_line_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.toml");
        for (text, complaint) in [
            ("wrokers = 3", "no setting named wrokers"),
            ("workers = \"x\"", "workers"),
            ("=", "settings.toml"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = settings(&["--config", file.to_str().unwrap()]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(complaint), "{error}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
