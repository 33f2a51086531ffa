//! The command line: `perennial serve | worker | migrate | demo | key | openapi | health`.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use perennial::config::{Cli, Command};
use perennial::{app, demo};

/// A request takes and gives back some sixty pieces of memory, many of them on another thread.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    app::choose_cryptography();
    let cli = match Cli::read(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => app::serve(&args.settings, !args.no_worker).await,
            Command::Worker(settings) => app::work(&settings).await,
            Command::Migrate(settings) => app::migrate(&settings).await,
            Command::Demo(args) => demo::run(&args).await,
            Command::Key(args) => app::keys(&args).await,
            Command::Openapi => app::print_openapi(),
            Command::Health(args) => app::health(&args).await,
        }
    });
    // All that is to end in order has: what is left waits for a disk that may never answer.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("perennial: {error}");
    ExitCode::FAILURE
}
