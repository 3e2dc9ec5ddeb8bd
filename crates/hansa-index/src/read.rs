//! Lists of objects, their grants and their history.

use std::collections::BTreeMap;

use hansa_types::{DcId, ObjectId, Visibility};
use sqlx::AnyConnection;

use crate::{
    Index, IndexError,
    cells::{Cell, bound, chunks, int, ordered, parameters},
    cursor::{Cursor, Sort},
    names::{FOUND_MAX, Found, Search},
    rows::{GRANTS, GrantRow, HISTORY, HistoryRow, OBJECTS, ObjectRow, Stored, object_cells},
};

/// Most objects on a page.
pub const PAGE_MAX: usize = 1_000;
/// Objects that one step of a walk reads.
const STEP: usize = 500;
/// Objects that one page looks at. A page of a walk may therefore be short; its cursor goes on.
const WALK_MAX: usize = 10_000;

/// A choice among the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectQuery {
    /// Only this owner's.
    pub owner: Option<DcId>,
    /// Only those with this visibility.
    pub visibility: Option<Visibility>,
    /// Only those with a grant in force for this member.
    pub grantee: Option<DcId>,
    /// Only those whose names have words that begin with these.
    pub name: Option<String>,
    /// The order.
    pub sort: Sort,
    /// Most objects on the page: 1 to [`PAGE_MAX`].
    pub limit: usize,
    /// [`ObjectPage::next`] of the page before.
    pub cursor: Option<String>,
}

/// A page of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPage {
    /// At most as many as were asked for; fewer do not mean the end.
    pub objects: Vec<ObjectRow>,
    /// Continues the list; `None` at its end.
    pub next: Option<String>,
    /// Everything up to this height is in it.
    pub height: u64,
}

/// Where a page of a walk stands.
struct Walk {
    objects: Vec<ObjectRow>,
    /// Behind the last object that was looked at; `None` at the end.
    next: Option<Cursor>,
}

impl Index {
    /// A page of the objects, from an index that holds everything up to `height`; waits for it as [`Index::at_least`] does.
    ///
    /// # Errors
    /// As [`Index::at_least`]; [`IndexError::Cursor`]; [`IndexError::Database`].
    pub async fn objects(&self, query: &ObjectQuery, height: u64) -> Result<ObjectPage, IndexError> {
        let height = self.at_least(height).await?;
        let page = self.page(query).await;
        let Walk { objects, next } = self.checked(page, height).await?;
        Ok(ObjectPage { objects, next: next.map(Cursor::encode), height })
    }

    /// One object; `None` if the chain has none with this name.
    ///
    /// # Errors
    /// As [`Index::objects`].
    pub async fn object(&self, id: ObjectId, height: u64) -> Result<(Option<ObjectRow>, u64), IndexError> {
        let height = self.at_least(height).await?;
        let found = async { Ok(self.rows(&[id], &ObjectQuery::default()).await?.pop()) }.await;
        Ok((self.checked(found, height).await?, height))
    }

    /// The grants of some objects that are in force, by object.
    ///
    /// # Errors
    /// [`IndexError::Database`].
    pub async fn grants(
        &self,
        objects: &[ObjectId],
    ) -> Result<BTreeMap<ObjectId, Vec<GrantRow>>, IndexError> {
        let mut connection = self.pool().acquire().await?;
        let mut grants = BTreeMap::<_, Vec<_>>::new();
        for chunk in chunks(objects.to_vec()) {
            let sql = format!(
                "SELECT {} FROM grants WHERE (owner, number) IN (VALUES {}) AND in_force = 1 ORDER BY owner, number, grantee",
                GRANTS.columns.join(", "),
                parameters(1, chunk.len(), 2)
            );
            let cells = chunk.into_iter().flat_map(object_cells).collect();
            for row in select::<GrantRow>(&mut connection, sql, cells).await? {
                grants.entry(row.id).or_default().push(row);
            }
        }
        Ok(grants)
    }

    /// An object's history, oldest first, behind an event.
    ///
    /// # Errors
    /// As [`Index::objects`].
    pub async fn history(
        &self,
        id: ObjectId,
        after: Option<(u64, u64)>,
        limit: usize,
        height: u64,
    ) -> Result<Vec<HistoryRow>, IndexError> {
        let height = self.at_least(height).await?;
        let found = async {
            let mut connection = self.pool().acquire().await?;
            let (behind, log_index) = after.map_or((-1, -1), |(height, log)| (int(height), int(log)));
            let sql = format!(
                "SELECT {} FROM history WHERE owner = $1 AND number = $2 AND (height, log_index) > ($3, $4) \
                 ORDER BY height, log_index LIMIT $5",
                HISTORY.columns.join(", ")
            );
            let [owner, number] = object_cells(id);
            let limit = limit as u64;
            let cells = vec![owner, number, behind.into(), log_index.into(), limit.into()];
            select::<HistoryRow>(&mut connection, sql, cells).await
        };
        let found = found.await;
        self.checked(found, height).await
    }

    /// An answer, unless the index was emptied meanwhile. A damaged database is replaced.
    async fn checked<T>(&self, answer: Result<T, IndexError>, wanted: u64) -> Result<T, IndexError> {
        if let Err(problem) = &answer
            && problem.is_damage()
        {
            self.damaged();
        }
        let answer = answer?;
        match self.state().height {
            Some(at) if at >= wanted => Ok(answer),
            at => Err(IndexError::Behind { at: at.unwrap_or(0), wanted }),
        }
    }

    async fn page(&self, query: &ObjectQuery) -> Result<Walk, IndexError> {
        let limit = query.limit.clamp(1, PAGE_MAX);
        let cursor = query.cursor.as_deref().map(|text| Cursor::decode(text, query.sort)).transpose()?;
        let search = query.name.as_deref().map(Search::new).filter(|search| !search.is_empty());
        match (query.sort, search) {
            (Sort::Name, search) => self.by_name(query, limit, cursor, &search.unwrap_or_default()).await,
            (_, None) => {
                let mut connection = self.pool().acquire().await?;
                let objects = listed(&mut connection, query, cursor, limit).await?;
                let is_full = objects.len() == limit;
                let last = objects.last().filter(|_| is_full);
                let next = last.map(|last| Cursor::behind(query.sort, last));
                Ok(Walk { objects, next })
            }
            (_, Some(search)) => match self.0.names.search(&search) {
                Found::All(ids) => self.among(query, limit, cursor, &ids).await,
                Found::Many => self.walk(query, limit, cursor, &search).await,
            },
        }
    }

    /// A page of a few known objects: all are read, and put in order here.
    async fn among(
        &self,
        query: &ObjectQuery,
        limit: usize,
        cursor: Option<Cursor>,
        ids: &[ObjectId],
    ) -> Result<Walk, IndexError> {
        let mut objects = self.rows(ids, query).await?;
        let place = |row: &ObjectRow| Cursor::behind(query.sort, row).place();
        objects.sort_unstable_by_key(place);
        if query.sort == Sort::Newest {
            objects.reverse();
        }
        if let Some(cursor) = cursor {
            let behind = cursor.place();
            objects.retain(|row| match query.sort {
                Sort::Newest => place(row) < behind,
                _ => place(row) > behind,
            });
        }
        let is_more = objects.len() > limit;
        objects.truncate(limit);
        let next = objects.last().filter(|_| is_more).map(|last| Cursor::behind(query.sort, last));
        Ok(Walk { objects, next })
    }

    /// A page of the objects in the database's order whose names match.
    async fn walk(
        &self,
        query: &ObjectQuery,
        limit: usize,
        mut cursor: Option<Cursor>,
        search: &Search,
    ) -> Result<Walk, IndexError> {
        let mut connection = self.pool().acquire().await?;
        let mut objects = Vec::new();
        for _ in 0..WALK_MAX / STEP {
            let step = listed(&mut connection, query, cursor, STEP).await?;
            let is_last = step.len() < STEP;
            for row in step {
                cursor = Some(Cursor::behind(query.sort, &row));
                if self.0.names.is_match(row.id, search) {
                    objects.push(row);
                }
                if objects.len() == limit {
                    return Ok(Walk { objects, next: cursor });
                }
            }
            if is_last {
                return Ok(Walk { objects, next: None });
            }
        }
        Ok(Walk { objects, next: cursor })
    }

    /// A page in the order of names.
    async fn by_name(
        &self,
        query: &ObjectQuery,
        limit: usize,
        cursor: Option<Cursor>,
        search: &Search,
    ) -> Result<Walk, IndexError> {
        let mut after = cursor.map(Cursor::object).transpose()?;
        let mut objects = Vec::new();
        for _ in 0..WALK_MAX / STEP {
            let ids = self.0.names.next(after, STEP).ok_or(IndexError::Cursor)?;
            let is_last = ids.len() < STEP;
            let matching: Vec<_> =
                ids.iter().copied().filter(|id| self.0.names.is_match(*id, search)).collect();
            let rows = self.rows(&matching, query).await?;
            let mut rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.id, row)).collect();
            for id in ids {
                after = Some(id);
                objects.extend(rows.remove(&id));
                if objects.len() == limit {
                    return Ok(Walk { objects, next: Some(Cursor::behind_object(Sort::Name, id)) });
                }
            }
            if is_last {
                return Ok(Walk { objects, next: None });
            }
        }
        Ok(Walk { objects, next: after.map(|id| Cursor::behind_object(Sort::Name, id)) })
    }

    /// Those of some objects that the query's filters let through, in no order.
    async fn rows(&self, ids: &[ObjectId], query: &ObjectQuery) -> Result<Vec<ObjectRow>, IndexError> {
        let mut connection = self.pool().acquire().await?;
        let mut found = Vec::new();
        for chunk in chunks(ids.to_vec()) {
            let mut conditions = Conditions::of(query);
            let values = parameters(conditions.next(), chunk.len(), 2);
            conditions.add(
                format!("(owner, number) IN (VALUES {values})"),
                chunk.into_iter().flat_map(object_cells),
            );
            let (clause, cells) = conditions.finish();
            let sql = format!("SELECT {} FROM objects{clause}", OBJECTS.columns.join(", "));
            found.extend(select::<ObjectRow>(&mut connection, sql, cells).await?);
        }
        debug_assert!(found.len() <= ids.len().max(FOUND_MAX));
        Ok(found)
    }
}

/// Objects behind a place, in the database's order.
async fn listed(
    connection: &mut AnyConnection,
    query: &ObjectQuery,
    cursor: Option<Cursor>,
    limit: usize,
) -> Result<Vec<ObjectRow>, IndexError> {
    let mut conditions = Conditions::of(query);
    let (columns, direction, sign) = match query.sort {
        Sort::Newest => (["height", "log_index"], "DESC", "<"),
        Sort::Oldest => (["height", "log_index"], "ASC", ">"),
        Sort::Number | Sort::Name => (["owner", "number"], "ASC", ">"),
    };
    if let Some(cursor) = cursor {
        let (first, second) = cursor.place();
        let second = if query.sort == Sort::Number { ordered(second) } else { int(second) };
        let sql = format!("({}) {sign} {}", columns.join(", "), parameters(conditions.next(), 1, 2));
        conditions.add(sql, [Cell::from(first), Cell::from(second)]);
    }
    let (clause, mut cells) = conditions.finish();
    cells.push((limit as u64).into());
    let [first, second] = columns;
    let sql = format!(
        "SELECT {} FROM objects{clause} ORDER BY {first} {direction}, {second} {direction} LIMIT ${}",
        OBJECTS.columns.join(", "),
        cells.len()
    );
    select(connection, sql, cells).await
}

async fn select<T: Stored>(
    connection: &mut AnyConnection,
    sql: String,
    cells: Vec<Cell>,
) -> Result<Vec<T>, IndexError> {
    let rows = bound(sql, cells).fetch_all(connection).await?;
    rows.iter().map(T::read).collect()
}

/// Conditions of a query with their parameters.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    cells: Vec<Cell>,
}

impl Conditions {
    fn of(query: &ObjectQuery) -> Self {
        let mut conditions = Self::default();
        if let Some(owner) = query.owner {
            conditions.add(format!("owner = ${}", conditions.next()), [owner.value().into()]);
        }
        if let Some(visibility) = query.visibility {
            conditions.add(format!("visibility = ${}", conditions.next()), [visibility.code().into()]);
        }
        if let Some(grantee) = query.grantee {
            let sql = format!(
                "EXISTS (SELECT 1 FROM grants WHERE grants.owner = objects.owner AND grants.number = objects.number \
                 AND grants.grantee = ${} AND grants.in_force = 1)",
                conditions.next()
            );
            conditions.add(sql, [grantee.value().into()]);
        }
        conditions
    }

    /// The number of the next parameter.
    fn next(&self) -> usize {
        self.cells.len().saturating_add(1)
    }

    fn add(&mut self, sql: String, cells: impl IntoIterator<Item = Cell>) {
        self.sql.push(sql);
        self.cells.extend(cells);
    }

    fn finish(self) -> (String, Vec<Cell>) {
        let clause =
            if self.sql.is_empty() { String::new() } else { format!(" WHERE {}", self.sql.join(" AND ")) };
        (clause, self.cells)
    }
}
