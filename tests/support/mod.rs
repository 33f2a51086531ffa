//! What the tests stand on: one private PostgreSQL a test binary, a database and a service a test.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod process;
pub mod trial;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use perennial::app::Service;
use perennial::config::{Cli, Command, ServeArgs};
use perennial::postgres::{self, PrivatePostgres};
use reqwest::{Client, Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPool};
use tempfile::TempDir;

/// A database server for the tests of this binary; it goes when the process does.
fn server() -> &'static (PrivatePostgres, TempDir) {
    static SERVER: OnceLock<(PrivatePostgres, TempDir)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let dir = readable_dir();
        let bin_dir = std::env::var_os("PERENNIAL_PG_BIN_DIR").map(PathBuf::from);
        let settings = postgres::Settings { data_dir: dir.path().to_owned(), bin_dir };
        (PrivatePostgres::start(&settings).expect("a private PostgreSQL"), dir)
    })
}

/// What temporary directories of tests are called; the process that made one follows.
const OF_TESTS: &str = "perennial-tests-";

/// A temporary directory that another user may pass through, as PostgreSQL does under root.
pub fn readable_dir() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    static SWEPT: Once = Once::new();
    SWEPT.call_once(sweep);
    let prefix = format!("{OF_TESTS}{}-", std::process::id());
    let dir = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Removes what processes left that are gone: a server's directory lasts as long as its process, which has no end of
/// its own at which to remove it.
fn sweep() {
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::unistd::Pid;
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(OF_TESTS)?.split('-').next());
        let Some(pid) = pid.and_then(|pid| pid.parse().ok()) else { continue };
        if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A new, empty database.
pub struct Database {
    /// How `--database-url` names it.
    pub url: String,
}

impl Database {
    pub async fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (server, _) = tokio::task::spawn_blocking(server).await.unwrap();
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let socket = server.socket_dir().to_str().unwrap().replace('/', "%2F");
        let url = |database: &str| {
            format!("postgres://{}@{socket}:{}/{database}", server.user(), server.port())
        };
        let pool = PgPool::connect(&url(server.database())).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
        Self { url: url(&name) }
    }

    pub async fn pool(&self) -> PgPool {
        PgPool::connect_with(PgConnectOptions::from_str(&self.url).unwrap()).await.unwrap()
    }
}

impl Database {
    /// Lets the database take connections or not; those that there are end either way.
    pub async fn allow_connections(&self, allow: bool) {
        self.alter(&format!("ALLOW_CONNECTIONS {allow}")).await;
    }

    /// Alters the database, and ends the connections that there are.
    pub async fn alter(&self, how: &str) {
        let (server, name) = self.url.rsplit_once('/').unwrap();
        // From another database of the same server.
        let admin = PgPool::connect(&format!("{server}/perennial")).await.unwrap();
        let alter = format!("ALTER DATABASE {name} {how}");
        sqlx::query(sqlx::AssertSqlSafe(alter)).execute(&admin).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        sqlx::query(end).bind(name).execute(&admin).await.unwrap();
        admin.close().await;
    }
}

/// Settings of a service on `database` that keeps its files in `dir`.
pub fn serve_args(database: &str, dir: &Path, more: &[&str]) -> ServeArgs {
    let dir = dir.to_str().unwrap();
    let listen: &[&str] =
        if more.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    let args = ["perennial", "serve", "--database-url", database, "--data-dir", dir];
    let args = args.iter().chain(listen).chain(more).map(Into::into).collect();
    match Cli::read(args).unwrap().command {
        Command::Serve(args) => args,
        other => panic!("{other:?}"),
    }
}

/// A service in this process, on a database of its own.
pub struct TestService {
    pub api: Api,
    pub database: Database,
    pub dir: TempDir,
    /// Where gRPC is answered, if it is.
    pub grpc: Option<String>,
    service: Service,
}

impl TestService {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more settings, as flags.
    pub async fn start_with(more: &[&str]) -> Self {
        Self::start_on(Database::create().await, readable_dir(), more).await
    }

    pub async fn start_on(database: Database, dir: TempDir, more: &[&str]) -> Self {
        let args = serve_args(&database.url, dir.path(), more);
        let service = Service::start(&args.settings, true, !args.no_worker).await.unwrap();
        let api = Api::new(format!("http://{}", service.address.unwrap()));
        let grpc = service.grpc_address.map(|address| format!("http://{address}"));
        Self { api, database, dir, grpc, service }
    }

    /// Stops in order, and gives back what it stood on.
    pub async fn stop(self) -> (Database, TempDir) {
        self.service.stop().await;
        (self.database, self.dir)
    }
}

/// A client.
#[derive(Clone)]
pub struct Api {
    pub client: Client,
    pub address: String,
}

/// What the service answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body, where the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// Checks that this is a problem of this status, and gives it.
    #[track_caller]
    pub fn problem(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        for field in ["type", "title", "detail", "instance", "request_id"] {
            assert!(self.body[field].is_string(), "no {field}: {}", self.body);
        }
        self.body
    }
}

impl Api {
    pub fn new(address: String) -> Self {
        let client = Client::builder().timeout(Duration::from_secs(120)).build().unwrap();
        Self { client, address }
    }

    /// The same client, with a key.
    pub fn with_key(&self, key: &str) -> Self {
        use reqwest::header::{AUTHORIZATION, HeaderMap};
        let bearer = (AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
        let builder = Client::builder().timeout(Duration::from_secs(120));
        let client = builder.default_headers(HeaderMap::from_iter([bearer])).build().unwrap();
        Self { client, address: self.address.clone() }
    }

    /// The head of an answer: an empty body for one that begins well, whatever may follow.
    pub async fn begin(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        if answer.status().is_success() {
            let (status, headers) = (answer.status(), answer.headers().clone());
            return Answer { status, headers, body: Value::Null };
        }
        Self::whole(answer).await
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        Self::whole(request.send().await.unwrap()).await
    }

    async fn whole(answer: reqwest::Response) -> Answer {
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.unwrap();
        let text = || Value::from(String::from_utf8_lossy(&bytes));
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).unwrap_or_else(|_| text()),
        };
        Answer { status, headers, body }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Posts text of a content type.
    pub async fn post_text(
        &self,
        path: &str,
        content_type: &str,
        text: impl Into<String>,
    ) -> Answer {
        self.post_bytes(path, content_type, text.into()).await
    }

    /// Posts a body of a content type.
    pub async fn post_bytes(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self.request(Method::POST, path).header("content-type", content_type);
        self.send(request.body(body)).await
    }

    /// Creates a model of plain vectors whose schedule is paused.
    pub async fn create_model(&self, name: &str, dim: usize) -> Value {
        let model = json!({
            "name": name,
            "input": {"kind": "tabular", "dim": dim},
            "network": {"kind": "mlp", "hidden": [32]},
            "schedule": {"paused": true},
        });
        self.post("/v1/models", model).await.expect(201)
    }

    /// Sends samples as one JSON batch.
    pub async fn send_samples(&self, model: &str, samples: &[(Vec<f32>, &str)]) -> Value {
        let samples: Vec<Value> =
            samples.iter().map(|(input, label)| json!({"input": input, "label": label})).collect();
        let path = format!("/v1/models/{model}/batches");
        self.post(&path, json!({"samples": samples})).await.expect(202)
    }

    /// Asks for an update and waits for its end.
    pub async fn update(&self, model: &str) -> Value {
        let queued = self.post(&format!("/v1/models/{model}/updates"), json!({})).await.expect(202);
        self.wait(queued["id"].as_str().unwrap()).await
    }

    /// An update, once it has ended.
    pub async fn wait(&self, id: &str) -> Value {
        for _ in 0..10 {
            let update = self.get(&format!("/v1/updates/{id}?wait=30")).await.expect(200);
            if !update["finished_at"].is_null() {
                return update;
            }
        }
        panic!("update {id} does not end");
    }

    /// The live version's answers: label by input.
    pub async fn labels(&self, model: &str, inputs: &[impl Serialize]) -> Vec<String> {
        let path = format!("/v1/models/{model}/predict");
        let answer = self.post(&path, json!({"inputs": inputs})).await.expect(200);
        let label = |prediction: &Value| prediction["label"].as_str().unwrap().to_owned();
        answer["predictions"].as_array().unwrap().iter().map(label).collect()
    }
}

/// Why samples of a batch were rejected, in their order.
pub fn reasons(batch: &Value) -> Vec<&str> {
    let rejections = batch["rejections"].as_array().unwrap().iter();
    rejections.map(|rejection| rejection["reason"].as_str().unwrap()).collect()
}

/// How many snapshots of trainings are kept in the data directory.
pub fn snapshots(data_dir: &Path) -> usize {
    let Ok(models) = std::fs::read_dir(data_dir.join("checkpoints/models")) else { return 0 };
    let files = |model: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_dir(model.unwrap().path().join("snapshots")).map_or(0, Iterator::count)
    };
    models.map(files).sum()
}

/// The names of all files in a directory, in those in it, and so on.
pub fn files_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => found.push(entry.file_name().into_string().unwrap()),
        }
    }
    found.sort();
    found
}

/// The middle one.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Seeded points around the centre of each label, `n` of each, in `dim` dimensions.
pub fn blobs<'a>(labels: &[&'a str], n: usize, dim: usize, seed: u64) -> Vec<(Vec<f32>, &'a str)> {
    use rand::{Rng, SeedableRng};
    let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut samples = Vec::new();
    for &label in labels {
        // The centre belongs to the label, whatever the seed: far from the others' in most axes.
        let place: u64 = label.bytes().map(u64::from).sum();
        let mut centre = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(place);
        let centre: Vec<f32> = (0..dim).map(|_| centre.gen_range(-4.0..4.0)).collect();
        for _ in 0..n {
            let point = centre.iter().map(|x| x + random.gen_range(-1.0..1.0)).collect();
            samples.push((point, label));
        }
    }
    samples
}
