//! The figures on docs/learning.md: each benchmark's between two marks of its own, so that one can
//! be measured anew and the others stay.

use std::ops::Range;
use std::path::Path;

use crate::benchmarks::Benchmark;
use crate::figures::COLUMNS;
use crate::table;

/// Puts a benchmark's figures in their place; says what was done.
pub fn write(
    file: &Path,
    benchmark: &Benchmark,
    lines: &[[String; COLUMNS.len()]],
    date: &str,
    seeds: Range<u32>,
) -> String {
    let name = benchmark.name;
    let page = match std::fs::read_to_string(file) {
        Ok(page) => page,
        Err(error) => return format!("not read: {error}"),
    };
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        return format!("no place for {name}: it has no marks {begin:?} and {end:?}");
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let seeds: Vec<String> = seeds.map(|seed| seed.to_string()).collect();
    let seeds = seeds.join(", ");
    let table = table::markdown(lines);
    let figures = format!("Measured {date}, seeds {seeds}, {cores} cores.\n\n{table}");
    match std::fs::write(file, format!("{before}{begin}{figures}{end}{after}")) {
        Ok(()) => format!("{name} written"),
        Err(error) => format!("not written: {error}"),
    }
}
