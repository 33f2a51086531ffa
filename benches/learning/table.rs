//! Rows of text as a table: aligned for a terminal, or as Markdown.

use crate::figures::COLUMNS;

type Line = [String; COLUMNS.len()];

/// For a terminal.
pub fn aligned(lines: &[Line]) -> String {
    let header = COLUMNS.map(str::to_owned);
    let width = |column: usize| {
        let cells = lines.iter().chain([&header]).map(|line| line[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let render = |line: &Line| {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    [&header].into_iter().chain(lines).map(render).collect()
}

/// For a page.
pub fn markdown(lines: &[Line]) -> String {
    let header = COLUMNS.map(str::to_owned);
    let render = |line: &Line| format!("| {} |\n", line.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(COLUMNS.len()));
    let rows: String = lines.iter().map(render).collect();
    format!("{}{rule}{rows}", render(&header))
}
