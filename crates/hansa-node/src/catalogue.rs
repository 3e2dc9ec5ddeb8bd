//! Lists of objects: rows from the index, names from the sharing service, and the rule of access.
//!
//! Nothing is asked of the contracts: a page costs a few queries of the index, whatever it holds.

use std::sync::Arc;

use hansa_adapters::LedgerChain;
use hansa_api::{
    Code, GrantSummary, IndexStatus, ObjectPage, ObjectSort, ObjectSummary, ObjectsRequest, Problem,
};
use hansa_envelope::root_cid;
use hansa_feed::Feed;
use hansa_index::{GrantRow, Index, IndexError, IndexSettings, Names, ObjectQuery, ObjectRow, Sort};
use hansa_kv::KvStore;
use hansa_ledger::Ledger;
use hansa_ports::{Chain as _, ChainError};
use hansa_sharing::{Description, Sharing};
use hansa_types::{DcId, MemberStatus, Visibility};
use tokio::task::JoinHandle;

use crate::{Home, NodeError};

/// Answers lists.
pub(crate) struct Catalogue {
    pub(crate) index: Index,
    names: Arc<Names>,
    sharing: Sharing,
    chain: Arc<LedgerChain>,
    ledger: Ledger,
}

/// The member that asks, and the chain's time.
#[derive(Clone, Copy, Debug)]
struct Viewer {
    me: DcId,
    now: u64,
}

impl Catalogue {
    /// An index in the home folder, or where the settings say.
    pub(crate) fn new(
        home: &Home,
        settings: &IndexSettings,
        ledger: Ledger,
        chain: Arc<LedgerChain>,
        sharing: Sharing,
    ) -> Result<Self, NodeError> {
        let file = home.data().join("index.db");
        let genesis = ledger.genesis_block().hash();
        let names = Arc::new(Names::new());
        let index = Index::new(settings.clone(), file, genesis, Arc::clone(&names))?;
        Ok(Self { index, names, sharing, chain, ledger })
    }

    /// Starts to follow the chain, and to read the names of objects from the key table.
    pub(crate) async fn start(&self, kv: Arc<dyn KvStore>) -> Result<[JoinHandle<()>; 2], NodeError> {
        // The cursor is in the index's own database; this space holds none.
        let [space] = hansa_sharing::spaces();
        let feed = Feed::open(self.chain.clone(), kv, space).await?;
        let (sharing, names) = (self.sharing.clone(), Arc::clone(&self.names));
        let read = move || {
            if let Err(error) = sharing.follow_names(move |object, name| names.insert(object, name)) {
                tracing::warn!(%error, "names of objects cannot be read; lists by name are incomplete");
            }
        };
        Ok([self.index.start(feed), tokio::task::spawn_blocking(read)])
    }

    /// A page of the objects. Without `at_least` it holds what the node held as final when it was asked.
    pub(crate) async fn objects(&self, request: ObjectsRequest) -> Result<ObjectPage, Problem> {
        let head = self.chain.head().await.map_err(|error| unavailable(&error))?;
        let viewer = Viewer { me: self.me().await?, now: head.timestamp };
        let query = ObjectQuery {
            owner: request.owner,
            visibility: request.visibility,
            grantee: request.grantee,
            name: request.name,
            sort: sort(request.sort.unwrap_or_default()),
            limit: request.limit.unwrap_or(1).try_into().unwrap_or(usize::MAX),
            cursor: request.cursor,
        };
        let height = request.at_least.unwrap_or(head.number);
        let page = self.index.objects(&query, height).await.map_err(|error| problem(&error))?;
        let ids: Vec<_> = page.objects.iter().map(|object| object.id).collect();
        let grants = self.index.grants(&ids).await.map_err(|error| problem(&error))?;
        let mut objects = Vec::with_capacity(page.objects.len());
        for row in &page.objects {
            let known = self.sharing.description(row.id).map_err(|error| error.problem())?;
            let grants = grants.get(&row.id).map(Vec::as_slice).unwrap_or_default();
            objects.push(viewer.summary(row, known, grants));
        }
        Ok(ObjectPage { objects, next: page.next, height: page.height })
    }

    pub(crate) fn status(&self) -> IndexStatus {
        let state = self.index.state();
        IndexStatus {
            database: self.index.database().to_owned(),
            height: state.height,
            head: self.ledger.head().number(),
            names: self.index.names() as u64,
            problem: state.problem,
        }
    }

    /// The active member whose account this node holds.
    async fn me(&self) -> Result<DcId, Problem> {
        let members = self.chain.members().await.map_err(|error| unavailable(&error))?;
        let account = self.chain.account();
        let mine = members.iter().find(|m| m.status == MemberStatus::Active && m.card.account == account);
        let none = || Problem::new(Code::NotMember, "this node's account acts for no active member");
        mine.map(|member| member.dc_id).ok_or_else(none)
    }
}

impl Viewer {
    fn summary(self, row: &ObjectRow, known: Option<Description>, grants: &[GrantRow]) -> ObjectSummary {
        let is_owner = self.me == row.id.owner;
        let visible = grants.iter().filter(|grant| is_owner || grant.grantee == self.me);
        ObjectSummary {
            id: row.id,
            version: row.version,
            kind: known.as_ref().map(|known| known.kind),
            size: known.as_ref().map(|known| known.size),
            name: known.map(|known| known.name),
            size_class: row.size_class,
            visibility: row.visibility,
            shared_with: grants.iter().filter(|_| is_owner).map(|grant| grant.grantee).collect(),
            grants: visible.map(|grant| self.grant(grant)).collect(),
            cid: root_cid(row.root).to_string(),
            created_at: row.created_at,
            valid_until: (row.valid_until != 0).then_some(row.valid_until),
            readable: self.is_readable(row, grants),
        }
    }

    fn grant(self, grant: &GrantRow) -> GrantSummary {
        GrantSummary {
            to: grant.grantee,
            expires_at: (grant.expires_at != 0).then_some(grant.expires_at),
            expired: self.is_past(grant.expires_at),
            openings_left: (grant.max_openings != 0)
                .then(|| grant.max_openings.saturating_sub(grant.openings)),
        }
    }

    /// The contract's rule (`Sharing._judge`) for the newest version, for an active member. Everybody has the key of a public one.
    fn is_readable(self, row: &ObjectRow, grants: &[GrantRow]) -> bool {
        if row.visibility == Visibility::Public || self.me == row.id.owner {
            return true;
        }
        let is_open = row.visibility == Visibility::Members
            || grants.iter().any(|grant| {
                let is_left = grant.max_openings == 0 || grant.openings < grant.max_openings;
                grant.grantee == self.me && is_left && !self.is_past(grant.expires_at)
            });
        is_open && !self.is_past(row.valid_until)
    }

    /// Whether an end has passed; 0 is none.
    fn is_past(self, end: u64) -> bool {
        end != 0 && self.now > end
    }
}

fn sort(sort: ObjectSort) -> Sort {
    match sort {
        ObjectSort::Newest => Sort::Newest,
        ObjectSort::Oldest => Sort::Oldest,
        ObjectSort::Number => Sort::Number,
        ObjectSort::Name => Sort::Name,
    }
}

fn unavailable(error: &ChainError) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}

/// The index's database may be away for a while; the node goes on.
fn problem(error: &IndexError) -> Problem {
    match error {
        IndexError::Cursor => Problem::new(Code::Malformed, error.to_string())
            .with_hint("Take `next` of the page before, with the same `sort`."),
        IndexError::Behind { .. } => Problem::new(Code::NotReady, error.to_string())
            .with_hint("Try again in a moment; `hansa index status` shows how far the index is."),
        error => Problem::new(Code::NotReady, error.to_string())
            .with_hint("`hansa index status` names the cause; the node's log says more."),
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use hansa_types::{ObjectId, Version};

    use super::*;

    fn dc(value: u32) -> DcId {
        DcId::new(value).unwrap()
    }

    fn id() -> ObjectId {
        ObjectId { owner: dc(1), number: 7 }
    }

    fn grant(grantee: u32, expires_at: u64, max_openings: u32, openings: u32) -> GrantRow {
        let (grantee, deposited, height) = (dc(grantee), false, 1);
        GrantRow { id: id(), grantee, in_force: true, expires_at, max_openings, openings, deposited, height }
    }

    #[test]
    fn a_list_shows_what_its_member_may_know_and_open() {
        let row =
            |visibility, valid_until| ObjectRow::new(id(), Version(1), B256::ZERO, visibility, valid_until);
        let grants = [grant(2, 0, 2, 1), grant(3, 99, 0, 0), grant(4, 0, 2, 2)];
        let check = |me, visibility, valid_until, readable, shared: usize, own: usize| {
            let viewer = Viewer { me: dc(me), now: 100 };
            let summary = viewer.summary(&row(visibility, valid_until), None, &grants);
            let found = (summary.readable, summary.shared_with.len(), summary.grants.len());
            assert_eq!(found, (readable, shared, own), "{me} {visibility:?} {valid_until}");
        };
        check(1, Visibility::Listed, 99, true, 3, 3);
        check(2, Visibility::Listed, 0, true, 0, 1);
        check(2, Visibility::Listed, 99, false, 0, 1);
        check(2, Visibility::Listed, 100, true, 0, 1);
        check(3, Visibility::Listed, 0, false, 0, 1);
        check(4, Visibility::Listed, 0, false, 0, 1);
        check(5, Visibility::Listed, 0, false, 0, 0);
        check(5, Visibility::Members, 0, true, 0, 0);
        check(5, Visibility::Members, 99, false, 0, 0);
        check(5, Visibility::Public, 99, true, 0, 0);
    }
}
