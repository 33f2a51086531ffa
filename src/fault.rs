//! Points at which tests kill or hold a process that was built with debug assertions; in others nothing happens.
//!
//! `PERENNIAL_DIE_AT=POINT` ends the process where it passes the point, as if it were killed.
//! `PERENNIAL_PAUSE_AT=POINT:FILE` makes the file there, and goes on once somebody has removed it. Each point is named where it
//! is passed; tests/binary/steps.rs lists those of an update.

/// Passes a point.
pub fn step(point: &str) {
    #[cfg(debug_assertions)]
    {
        if dies_at(point) {
            eprintln!("PERENNIAL_DIE_AT={point}: dying here");
            std::process::abort();
        }
        pause_at(point);
    }
    tracing::debug!(point, "passed");
}

/// Whether the process is to die at a point: for whoever has something to leave half done before.
pub fn dies_at(point: &str) -> bool {
    cfg!(debug_assertions) && std::env::var("PERENNIAL_DIE_AT").is_ok_and(|at| at == point)
}

/// Holds this thread while there is the file that stands for the point. Whoever awaits on it waits, too.
#[cfg(debug_assertions)]
fn pause_at(point: &str) {
    let Ok(at) = std::env::var("PERENNIAL_PAUSE_AT") else { return };
    let Some((_, file)) = at.split_once(':').filter(|(at, _)| *at == point) else { return };
    if std::fs::write(file, "").is_err() {
        return;
    }
    while std::path::Path::new(file).exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
