//! Reads the reference tables under `tests/tables` (written by `make_tables.py`).

/// The rows of a table; a line that starts with `#` is a comment.
pub(crate) fn rows(table: &str) -> impl Iterator<Item = Vec<f64>> + '_ {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|word| word.parse().expect("tables hold numbers only")).collect())
}
