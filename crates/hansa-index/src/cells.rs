//! Values of columns, and statements for many rows.

use alloy_primitives::B256;
use sqlx::{Any, AnyConnection, any::AnyArguments, query::Query};

use crate::IndexError;

/// Numbers of rows in a statement, largest first. Few sizes keep the number of prepared statements small. SQLite searches a statement's
/// parameters from the beginning whenever one is bound, so that the cost of a row grows with the rows of its statement.
const CHUNKS: [usize; 3] = [24, 4, 1];

/// A column's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
    Text(Option<String>),
}

impl From<u64> for Cell {
    fn from(value: u64) -> Self {
        Self::Int(Some(int(value)))
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<&B256> for Cell {
    fn from(value: &B256) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

/// An integer as a column. The contracts bound all values but object numbers ([`ordered`]) far below the column's range.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An object's number as a column, in the same order.
pub(crate) fn ordered(number: u64) -> i64 {
    i64::from_ne_bytes((number ^ (1 << 63)).to_ne_bytes())
}

/// The inverse of [`ordered`].
pub(crate) fn number(column: i64) -> u64 {
    u64::from_ne_bytes(column.to_ne_bytes()) ^ (1 << 63)
}

/// A table and the columns that a statement names.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) key: &'static [&'static str],
    /// All columns, the key's among them.
    pub(crate) columns: &'static [&'static str],
}

/// A statement with its parameters.
pub(crate) fn bound<'q>(sql: String, cells: Vec<Cell>) -> Query<'q, Any, AnyArguments> {
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for cell in cells {
        query = match cell {
            Cell::Int(value) => query.bind(value),
            Cell::Bytes(value) => query.bind(value),
            Cell::Text(value) => query.bind(value),
        };
    }
    query
}

/// `($1, $2), ($3, $4)`: parameters for so many rows, the first with this number.
pub(crate) fn parameters(first: usize, rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let start = first.saturating_add(row.saturating_mul(columns));
        let names: Vec<_> = (start..start.saturating_add(columns)).map(|index| format!("${index}")).collect();
        format!("({})", names.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// Divides items into portions of the sizes in [`CHUNKS`].
pub(crate) fn chunks<T>(mut items: Vec<T>) -> Vec<Vec<T>> {
    let mut chunks = Vec::new();
    while !items.is_empty() {
        let size = CHUNKS.into_iter().find(|size| *size <= items.len()).unwrap_or(1);
        let rest = items.split_off(size);
        chunks.push(std::mem::replace(&mut items, rest));
    }
    chunks
}

/// Writes rows; those whose keys are there are replaced. No two rows may have the same key.
pub(crate) async fn upsert(
    connection: &mut AnyConnection,
    table: &Table,
    rows: Vec<Vec<Cell>>,
) -> Result<(), IndexError> {
    let Table { name, key, columns } = table;
    let changes: Vec<_> = columns
        .iter()
        .filter(|column| !key.contains(column))
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    for chunk in chunks(rows) {
        let values = parameters(1, chunk.len(), columns.len());
        let sql = format!(
            "INSERT INTO {name} ({}) VALUES {values} ON CONFLICT ({}) DO UPDATE SET {}",
            columns.join(", "),
            key.join(", "),
            changes.join(", ")
        );
        bound(sql, chunk.concat()).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_order() {
        let numbers = [0, 1, 42, (1 << 63) - 1, 1 << 63, u64::MAX];
        let columns = numbers.map(ordered);
        assert!(columns.is_sorted());
        assert_eq!(columns.map(number), numbers);
    }

    #[test]
    fn chunks_hold_everything_in_order() {
        for length in [0, 1, 5, 291, 600] {
            let chunks = chunks((0..length).collect());
            assert!(chunks.iter().all(|chunk| CHUNKS.contains(&chunk.len())));
            assert_eq!(chunks.concat(), (0..length).collect::<Vec<_>>());
        }
    }
}
