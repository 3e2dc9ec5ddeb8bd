//! Writes batches of events: rows and height in one transaction.

use alloy_primitives::B256;
use hansa_feed::FeedBatch;
use sqlx::{Any, AnyConnection, Connection as _, Row as _, Transaction};

use crate::{
    IndexError,
    cells::{self, Cell, Table, bound, int, parameters, upsert},
    fold::{Needs, Rows},
    rows::{
        BALLOTS, BLOCKS, BallotRow, GRANTS, GrantRow, HISTORY, MEMBERS, MemberRow, OBJECTS, ObjectRow,
        Stored, TABLES, TRANSACTIONS, VERSIONS, VOTES, VersionRow, object_cells,
    },
};

/// The height that a database continues at and the chain that it belongs to; `None` in a new database.
pub(crate) async fn position(writer: &mut AnyConnection) -> Result<Option<(B256, u64)>, IndexError> {
    let row =
        sqlx::query("SELECT genesis, next_height FROM state WHERE id = 0").fetch_optional(writer).await?;
    let Some(row) = row else { return Ok(None) };
    let genesis: Vec<u8> = row.try_get(0)?;
    let genesis = B256::try_from(genesis.as_slice()).map_err(|_| IndexError::Value("the genesis block"))?;
    let next = u64::try_from(row.try_get::<i64, _>(1)?).map_err(|_| IndexError::Value("the height"))?;
    Ok(Some((genesis, next)))
}

/// Empties all tables, for a chain that is read from its genesis block on.
pub(crate) async fn clear(writer: &mut AnyConnection, genesis: B256) -> Result<(), IndexError> {
    let mut transaction = writer.begin().await?;
    for table in TABLES {
        bound(format!("DELETE FROM {}", table.name), vec![]).execute(&mut *transaction).await?;
    }
    sqlx::query("DELETE FROM state").execute(&mut *transaction).await?;
    let cells = vec![Cell::Int(Some(0)), (&genesis).into(), Cell::Int(Some(0))];
    bound(format!("INSERT INTO state VALUES {}", parameters(1, 1, 3)), cells)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// Applies a batch to a database that continues at `next`; returns where it continues then. Nothing is written twice: if the database
/// continues elsewhere, somebody else writes it.
pub(crate) async fn apply(
    writer: &mut AnyConnection,
    next: u64,
    batch: &FeedBatch,
) -> Result<u64, IndexError> {
    staged(writer, next, batch).await?.commit().await?;
    Ok(batch.through.saturating_add(1))
}

/// The transaction of [`apply`], complete but not committed.
pub(crate) async fn staged<'c>(
    writer: &'c mut AnyConnection,
    next: u64,
    batch: &FeedBatch,
) -> Result<Transaction<'c, Any>, IndexError> {
    let end = batch.through.saturating_add(1);
    let mut transaction = writer.begin().await?;
    let moved = "UPDATE state SET next_height = $1 WHERE id = 0 AND next_height = $2";
    let moved = sqlx::query(moved).bind(int(end)).bind(int(next)).execute(&mut *transaction).await?;
    if moved.rows_affected() != 1 {
        return Err(IndexError::OtherWriter);
    }
    let mut rows = load(&mut transaction, &Needs::of(&batch.blocks)).await?;
    for block in &batch.blocks {
        rows.fold(block);
    }
    store(&mut transaction, &rows).await?;
    Ok(transaction)
}

/// Loads the rows with these keys.
async fn load(transaction: &mut Transaction<'_, Any>, needs: &Needs) -> Result<Rows, IndexError> {
    let members = needs.members.iter().map(|dc_id| vec![(*dc_id).into()]).collect();
    let members: Vec<MemberRow> = by_key(transaction, &MEMBERS, members).await?;
    let ballots = needs.ballots.iter().map(|id| vec![(*id).into()]).collect();
    let ballots: Vec<BallotRow> = by_key(transaction, &BALLOTS, ballots).await?;
    let objects = needs.objects.iter().map(|id| object_cells(*id).to_vec()).collect();
    let objects: Vec<ObjectRow> = by_key(transaction, &OBJECTS, objects).await?;
    let with = |id, third: u32| [&object_cells(id)[..], &[third.into()]].concat();
    let versions = needs.versions.iter().map(|(id, version)| with(*id, *version)).collect();
    let versions: Vec<VersionRow> = by_key(transaction, &VERSIONS, versions).await?;
    let grants = needs.grants.iter().map(|(id, grantee)| with(*id, grantee.value())).collect();
    let grants: Vec<GrantRow> = by_key(transaction, &GRANTS, grants).await?;
    Ok(Rows {
        members: members.into_iter().map(|row| (row.dc_id, row)).collect(),
        ballots: ballots.into_iter().map(|row| (row.id, row)).collect(),
        objects: objects.into_iter().map(|row| (row.id, row)).collect(),
        versions: versions.into_iter().map(|row| ((row.id, row.version), row)).collect(),
        grants: grants.into_iter().map(|row| ((row.id, row.grantee), row)).collect(),
        ..Rows::default()
    })
}

/// The rows of a table with some keys, in no order.
pub(crate) async fn by_key<T: Stored>(
    connection: &mut AnyConnection,
    table: &Table,
    keys: Vec<Vec<Cell>>,
) -> Result<Vec<T>, IndexError> {
    let (columns, key) = (table.columns.join(", "), table.key.join(", "));
    let mut found = Vec::new();
    for chunk in cells::chunks(keys) {
        let values = parameters(1, chunk.len(), table.key.len());
        let sql = format!("SELECT {columns} FROM {} WHERE ({key}) IN (VALUES {values})", table.name);
        for row in bound(sql, chunk.concat()).fetch_all(&mut *connection).await? {
            found.push(T::read(&row)?);
        }
    }
    Ok(found)
}

async fn store(connection: &mut AnyConnection, rows: &Rows) -> Result<(), IndexError> {
    let blocks = rows.blocks.iter().map(|(height, (hash, timestamp, events))| {
        vec![(*height).into(), hash.into(), (*timestamp).into(), (*events).into()]
    });
    upsert(connection, &BLOCKS, blocks.collect()).await?;
    let transactions = rows.transactions.iter();
    let transactions = transactions
        .map(|(hash, (height, position))| vec![hash.into(), (*height).into(), (*position).into()]);
    upsert(connection, &TRANSACTIONS, transactions.collect()).await?;
    upsert(connection, &MEMBERS, rows.members.values().map(Stored::cells).collect()).await?;
    upsert(connection, &BALLOTS, rows.ballots.values().map(Stored::cells).collect()).await?;
    let votes = rows.votes.iter().map(|((ballot, dc_id), vote)| {
        vec![(*ballot).into(), (*dc_id).into(), vote.support.into(), vote.height.into()]
    });
    upsert(connection, &VOTES, votes.collect()).await?;
    upsert(connection, &OBJECTS, rows.objects.values().map(Stored::cells).collect()).await?;
    upsert(connection, &VERSIONS, rows.versions.values().map(Stored::cells).collect()).await?;
    upsert(connection, &GRANTS, rows.grants.values().map(Stored::cells).collect()).await?;
    upsert(connection, &HISTORY, rows.history.iter().map(Stored::cells).collect()).await
}
