//! Clients that nobody here wrote ask the service in their own words: Triton's, MLServer's and Arrow's, from PyPI.
//!
//! They live in a virtual environment below `target/`, made once. Where there is no Python with
//! `venv`, or no way to PyPI, the test says so and looks at nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::oip::teach_all;
use crate::support::TestService;

const SCRIPTS: [&str; 3] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/triton.py"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/mlserver_client.py"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/arrow.py"),
];
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/requirements.txt");

#[tokio::test(flavor = "multi_thread")]
async fn clients_from_pypi_work_unchanged() {
    let python = match tokio::task::spawn_blocking(environment).await.unwrap() {
        Ok(python) => python,
        Err(why) => return say(&format!("SKIPPED: clients from PyPI: {why}\n")),
    };
    let service = TestService::start_with(&["--grpc-listen", "127.0.0.1:0"]).await;
    teach_all(&service.api).await;
    let host = service.api.address.trim_start_matches("http://").to_owned();
    let grpc = service.grpc.as_ref().unwrap().trim_start_matches("http://").to_owned();
    for script in SCRIPTS {
        let (python, host, grpc) = (python.clone(), host.clone(), grpc.clone());
        let run = move || Command::new(python).args([script, &host, &grpc]).output().unwrap();
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        assert!(output.status.success(), "{script}: {}", words(&output));
        // A script says nothing but that it looks at nothing.
        say(&String::from_utf8_lossy(&output.stdout));
    }
    service.stop().await;
}

/// Past the harness, which shows only what failing tests print.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The Python of an environment that has the clients; the reason why there is none.
fn environment() -> Result<PathBuf, String> {
    let requirements = std::fs::read_to_string(REQUIREMENTS).map_err(|error| error.to_string())?;
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let (python, made) = (dir.join("bin/python"), dir.join("requirements.txt"));
    if std::fs::read_to_string(&made).is_ok_and(|made| made == requirements) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"];
    run(Command::new(&python).args(pip).args(["--timeout", "10", "-r", REQUIREMENTS]))?;
    std::fs::write(made, requirements).map_err(|error| error.to_string())?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", words(&output))),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

fn words(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}
