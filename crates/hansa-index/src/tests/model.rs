//! Random events, divided into random batches, with crashes between: the database holds what a look at all events at once says.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Log;
use futures::StreamExt as _;
use hansa_feed::FeedFilter;
use hansa_types::{ObjectId, Visibility};
use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::Row as _;

use super::{
    Database,
    chain::{MemoryChain, time, transaction},
    events,
};
use crate::{
    IndexError, IndexSettings,
    cells::bound,
    database::Place,
    rows::{
        BALLOTS, BallotEnd, BallotRow, GRANTS, GrantRow, HISTORY, HistoryRow, MEMBERS, MemberRow, OBJECTS,
        ObjectRow, Stored, VERSIONS, VersionRow,
    },
    write,
};

/// What happens to an object, by its index, or to a member.
#[derive(Clone, Copy, Debug)]
enum Act {
    Record(usize, i64),
    Share(usize, u32),
    Revoke(usize, u32),
    Change(usize, i64),
    Open(usize, u32, u32),
    Refuse(usize, u32),
    Release(usize, u32),
    Admit(u32),
    Standing(u32, u8),
    Ballot(u64),
    Vote(u64, u32, bool),
    Execute(u64),
}

/// Objects with numbers at both ends.
fn object(index: usize) -> ObjectId {
    [events::object(1, 1), events::object(1, u64::MAX), events::object(2, 1 << 63), events::object(2, 7)]
        [index]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (objects, members, codes) = (0_usize..4, 1_u32..4, -1_i64..2);
    let act = prop_oneof![
        4 => (objects.clone(), codes.clone()).prop_map(|(o, v)| Act::Record(o, v)),
        3 => (objects.clone(), members.clone()).prop_map(|(o, m)| Act::Share(o, m)),
        2 => (objects.clone(), members.clone()).prop_map(|(o, m)| Act::Revoke(o, m)),
        2 => (objects.clone(), codes).prop_map(|(o, v)| Act::Change(o, v)),
        4 => (objects.clone(), 1_u32..4, members.clone()).prop_map(|(o, v, m)| Act::Open(o, v, m)),
        1 => (objects.clone(), members.clone()).prop_map(|(o, m)| Act::Refuse(o, m)),
        1 => (objects, members.clone()).prop_map(|(o, m)| Act::Release(o, m)),
        1 => members.clone().prop_map(Act::Admit),
        1 => (members.clone(), 1_u8..4).prop_map(|(m, s)| Act::Standing(m, s)),
        1 => (1_u64..4).prop_map(Act::Ballot),
        1 => (1_u64..4, members, any::<bool>()).prop_map(|(b, m, s)| Act::Vote(b, m, s)),
        1 => (1_u64..4).prop_map(Act::Execute),
    ];
    proptest::collection::vec(act, 0..60)
}

/// Everything that the tables hold.
#[derive(Debug, Default, PartialEq)]
struct Contents {
    next: u64,
    members: Vec<MemberRow>,
    ballots: Vec<BallotRow>,
    votes: Vec<(i64, i64, i64, i64)>,
    objects: Vec<ObjectRow>,
    versions: Vec<VersionRow>,
    grants: Vec<GrantRow>,
    history: Vec<HistoryRow>,
    /// Height and events.
    blocks: Vec<(i64, i64)>,
    transactions: i64,
}

impl Contents {
    async fn read(writer: &mut sqlx::AnyConnection) -> Self {
        let mut votes = Vec::new();
        let sql = "SELECT ballot, dc_id, support, height FROM votes ORDER BY ballot, dc_id";
        for row in sqlx::query(sql).fetch_all(&mut *writer).await.unwrap() {
            votes.push((row.get(0), row.get(1), row.get(2), row.get(3)));
        }
        let sql = "SELECT height, events FROM blocks ORDER BY height";
        let blocks = sqlx::query(sql).fetch_all(&mut *writer).await.unwrap();
        let sql = "SELECT COUNT(*) FROM transactions";
        let transactions = sqlx::query(sql).fetch_one(&mut *writer).await.unwrap().get(0);
        Self {
            next: write::position(writer).await.unwrap().unwrap().1,
            members: all(writer, &MEMBERS).await,
            ballots: all(writer, &BALLOTS).await,
            votes,
            objects: all(writer, &OBJECTS).await,
            versions: all(writer, &VERSIONS).await,
            grants: all(writer, &GRANTS).await,
            history: all(writer, &HISTORY).await,
            blocks: blocks.iter().map(|row| (row.get(0), row.get(1))).collect(),
            transactions,
        }
    }
}

async fn all<T: Stored>(writer: &mut sqlx::AnyConnection, table: &crate::cells::Table) -> Vec<T> {
    let (columns, key) = (table.columns.join(", "), table.key.join(", "));
    let sql = format!("SELECT {columns} FROM {} ORDER BY {key}", table.name);
    let rows = bound(sql, vec![]).fetch_all(writer).await.unwrap();
    rows.iter().map(|row| T::read(row).unwrap()).collect()
}

/// An act with its place, and the newest version of its object at that time.
type Event = (u64, u64, Act, u32);

/// The logs of acts that the contracts allow, and the acts.
fn played(blocks: &[Vec<Act>]) -> (Vec<Vec<Log>>, Vec<Event>) {
    let (mut newest, mut done) = (BTreeMap::<usize, u32>::new(), Vec::<Event>::new());
    let (mut ballots, mut tallies) = (BTreeSet::new(), BTreeMap::<u64, (u32, u32)>::new());
    let mut logs = Vec::new();
    for (height, block) in blocks.iter().enumerate() {
        let mut found = Vec::new();
        for act in block {
            let version = |index: &usize| newest.get(index).copied().unwrap_or(0);
            let (log, at) = match act {
                Act::Record(o, code) => {
                    *newest.entry(*o).or_default() += 1;
                    (events::recorded(object(*o), newest[o], *code), newest[o])
                }
                Act::Share(o, m) if version(o) > 0 => (events::shared(object(*o), *m, 2), version(o)),
                Act::Revoke(o, m) => (events::revoked(object(*o), *m), version(o)),
                Act::Change(o, code) if version(o) > 0 => {
                    (events::visibility_changed(object(*o), *code, version(o)), version(o))
                }
                Act::Open(o, v, m) if version(o) >= *v => (events::opened(object(*o), *v, *m), version(o)),
                Act::Refuse(o, m) => (events::refused(object(*o), *m), version(o)),
                Act::Release(o, m) => (events::released(object(*o), *m), version(o)),
                Act::Admit(m) => (events::admitted(*m), 0),
                Act::Standing(m, status) => (events::standing(*m, *status), 0),
                Act::Ballot(id) if ballots.insert(*id) => (events::ballot_opened(*id), 0),
                Act::Vote(id, m, support) if ballots.contains(id) => {
                    let (yes, no) = tallies.entry(*id).or_default();
                    *(if *support { yes as &mut u32 } else { no }) += 1;
                    let (yes, no) = tallies[id];
                    (events::vote(*id, *m, *support, yes, no), 0)
                }
                Act::Execute(id) if ballots.contains(id) => (events::executed(*id), 0),
                _ => continue,
            };
            done.push((height as u64, found.len() as u64, *act, at));
            found.push(log);
        }
        logs.push(found);
    }
    (logs, done)
}

/// Whether an event's act is about an object; with the member that it names.
fn about(act: Act) -> Option<usize> {
    match act {
        Act::Record(o, _) | Act::Share(o, _) | Act::Revoke(o, _) | Act::Change(o, _) => Some(o),
        Act::Open(o, ..) | Act::Refuse(o, _) | Act::Release(o, _) => Some(o),
        _ => None,
    }
}

/// The visibility of a version after some events: the last word of its record and of the changes since.
fn visibility(events: &[Event], of: usize, version: u32) -> i64 {
    let mut words = events.iter().filter_map(|(_, _, act, at)| match act {
        Act::Record(o, code) if *o == of && *at == version => Some(*code),
        Act::Change(o, code) if *o == of && *at >= version => Some(*code),
        _ => None,
    });
    words.next_back().unwrap()
}

fn expected_objects(events: &[Event]) -> Vec<ObjectRow> {
    let mut objects: Vec<ObjectRow> = (0..4).filter_map(|index| expected_object(events, index)).collect();
    objects.sort_by_key(|row| row.id);
    objects
}

fn expected_object(events: &[Event], index: usize) -> Option<ObjectRow> {
    let mut records = events.iter().filter(|(_, _, act, _)| matches!(act, Act::Record(o, _) if *o == index));
    let (height, log_index, _, version) = *records.next_back()?;
    let id = object(index);
    let change = events.iter().rev().find_map(|(_, _, act, at)| match act {
        Act::Change(o, code) if *o == index => Some((Some(*code), *at)),
        _ => None,
    });
    Some(ObjectRow {
        id,
        version: hansa_types::Version(version),
        root: events::root(id, version),
        visibility: Visibility::from_code(visibility(events, index, version)).unwrap(),
        change: change.unwrap_or((None, 0)),
        size_class: 4096,
        created_at: 1_800_000_000,
        valid_until: 0,
        height,
        log_index,
    })
}

/// Each grant, its state and its openings.
fn expected_grants(events: &[Event]) -> Vec<(ObjectId, u32, bool, u32)> {
    let mut grants = Vec::new();
    for (index, member) in (0..4).flat_map(|index| (1..4).map(move |member| (index, member))) {
        let is_given = |act: &Act| matches!(act, Act::Share(o, m) if (*o, *m) == (index, member));
        let Some(given) = events.iter().rposition(|(_, _, act, _)| is_given(act)) else { continue };
        let is_revoked = events[given..]
            .iter()
            .any(|(_, _, act, _)| matches!(act, Act::Revoke(o, m) if (*o, *m) == (index, member)));
        let opened = events.iter().enumerate().skip(given).filter(|(at, (_, _, act, _))| match act {
            Act::Open(o, v, m) if (*o, *m) == (index, member) => {
                *m != object(index).owner.value() && visibility(&events[..*at], index, *v) > 0
            }
            _ => false,
        });
        grants.push((object(index), member, !is_revoked, opened.count() as u32));
    }
    grants.sort();
    grants
}

fn check(found: &Contents, logs: &[Vec<Log>], events: &[Event]) {
    assert_eq!(found.next, logs.len() as u64);
    assert_eq!(found.objects, expected_objects(events));
    let grants: Vec<_> =
        found.grants.iter().map(|g| (g.id, g.grantee.value(), g.in_force, g.openings)).collect();
    assert_eq!(grants, expected_grants(events));
    let records = events.iter().filter_map(|(height, _, act, version)| match act {
        Act::Record(o, code) => Some((object(*o), *version, *code, *height)),
        _ => None,
    });
    let mut records: Vec<_> = records.collect();
    records.sort();
    let versions = found.versions.iter().map(|v| (v.id, v.version, v.visibility, v.height));
    assert_eq!(versions.collect::<Vec<_>>(), records);
    let story = events.iter().filter_map(|(height, log, act, _)| Some((*height, *log, object(about(*act)?))));
    let history = found.history.iter();
    assert!(history.clone().all(|row| row.transaction == transaction(row.height, row.log_index)));
    assert!(history.clone().all(|row| row.timestamp == time(row.height)));
    let history = history.map(|row| (row.height, row.log_index, row.id));
    assert_eq!(history.collect::<Vec<_>>(), story.collect::<Vec<_>>());
    let blocks = logs.iter().enumerate().filter(|(_, logs)| !logs.is_empty());
    let blocks = blocks.map(|(height, logs)| (height as i64, logs.len() as i64));
    assert_eq!(found.blocks, blocks.collect::<Vec<_>>());
    assert_eq!(found.transactions, events.len() as i64);
    check_governance(found, events);
}

fn check_governance(found: &Contents, events: &[Event]) {
    for ballot in &found.ballots {
        let of = |act: &Act| matches!(act, Act::Vote(id, ..) if *id == ballot.id);
        let votes = events.iter().filter(|(_, _, act, _)| of(act)).count() as u32;
        assert_eq!(ballot.in_favour + ballot.against, votes);
        let is_done = events.iter().any(|(_, _, act, _)| matches!(act, Act::Execute(id) if *id == ballot.id));
        assert_eq!(ballot.state == BallotEnd::Executed, is_done);
        assert_eq!((ballot.electorate, ballot.opened_by), (3, 1));
    }
    let opened = events.iter().filter(|(_, _, act, _)| matches!(act, Act::Ballot(_))).count();
    assert_eq!(found.ballots.len(), opened);
    let votes: BTreeMap<_, _> = events
        .iter()
        .filter_map(|(height, _, act, _)| match act {
            Act::Vote(id, m, support) => {
                Some(((*id as i64, i64::from(*m)), (i64::from(*support), *height as i64)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(found.votes.iter().map(|v| ((v.0, v.1), (v.2, v.3))).collect::<BTreeMap<_, _>>(), votes);
    for member in &found.members {
        let last = events.iter().rev().find_map(|(_, _, act, _)| match act {
            Act::Standing(m, status) if *m == member.dc_id => Some(*status),
            _ => None,
        });
        assert_eq!(member.standing, last);
        let is_admitted =
            events.iter().any(|(_, _, act, _)| matches!(act, Act::Admit(m) if *m == member.dc_id));
        assert_eq!(member.account.is_some(), is_admitted);
    }
}

/// How one batch is read: blocks, logs, and whether the node crashes before its transaction is committed.
type Step = (u64, usize, bool);

async fn run(place: &Place, chain_name: u64, blocks: &[Vec<Act>], steps: &[Step]) -> Result<(), IndexError> {
    let (logs, events) = played(blocks);
    let chain = MemoryChain::new(chain_name, logs.clone());
    let pool = place.pool(&IndexSettings::default())?;
    let mut writer = place.writer(&pool).await?;
    write::clear(&mut writer, chain.genesis()).await?;
    let mut next = 0;
    for (blocks, logs, is_crash) in steps.iter().cycle() {
        if next > chain.head() {
            break;
        }
        let feed = chain.feed((*blocks, *logs)).await;
        let batch = feed.restart("index", next, FeedFilter::default()).next().await.unwrap()?;
        if *is_crash {
            drop(write::staged(&mut writer, next, &batch).await?);
            assert_eq!(write::position(&mut writer).await?.unwrap().1, next);
            // Whatever the crash interrupted is done by the batch's next delivery.
        }
        next = write::apply(&mut writer, next, &batch).await?;
        // A batch that was applied is not applied again.
        let again = write::apply(&mut writer, next - 1, &batch).await;
        assert!(matches!(again, Err(IndexError::OtherWriter)));
    }
    check(&Contents::read(&mut writer).await, &logs, &events);
    drop(writer);
    pool.close().await;
    Ok(())
}

#[test]
fn the_index_is_what_the_events_say() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (database, cases) in Database::both().into_iter().zip([96, 24]) {
        let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
        let place = Place::new(&database.settings(), database.folder().join("index.db")).unwrap();
        let steps = proptest::collection::vec((1_u64..5, 1_usize..12, any::<bool>()), 1..6);
        let chain = (proptest::collection::vec(acts(), 1..4), 1_u64..1_000_000);
        let mut runner = TestRunner::new(config);
        let result = runner.run(&(chain, steps), |((blocks, name), steps)| {
            let blocks: Vec<Vec<Act>> =
                blocks.iter().flat_map(|acts| acts.chunks(5).map(<[Act]>::to_vec).chain([vec![]])).collect();
            runtime.block_on(run(&place, name, &blocks, &steps)).unwrap();
            Ok(())
        });
        result.unwrap();
    }
}
