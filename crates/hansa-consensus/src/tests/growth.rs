//! Only blocks and certificates grow with the chain.

use std::{collections::BTreeMap, time::Duration};

use commonware_runtime::{Blob as _, Clock as _, Storage as _};
use hansa_kv::{KeyRange, KvStore as _, Order, Space};

use super::world::{Shape, World, simulate};
use crate::block_archive::{MARGIN_BLOCKS, SECTION_BLOCKS};

const EPOCH_BLOCKS: u64 = 8;

/// Maximum growth of an idle day in bytes, without blocks; one block a second.
const DAY_BYTES_MAX: u64 = 20_000_000;
const DAY_BLOCKS: u64 = 86_400;

/// The ledger's spaces other than blocks and state.
const BESIDE_BLOCKS: [&str; 6] = [
    "ledger-hashes",
    "ledger-receipts",
    "ledger-transactions",
    "ledger-logs",
    "ledger-certificates",
    "ledger-meta",
];

/// Files and bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    files: usize,
    bytes: u64,
}

/// The files of a stopped node's engine, by kind.
async fn engine_sizes(world: &World, index: usize, epochs: u64) -> BTreeMap<&'static str, Size> {
    let archive = |name: &str| ["metadata", "key", "value"].map(|part| format!("{name}-{part}")).to_vec();
    let mut partitions = vec![
        ("certificates", archive("finalisations")),
        ("blocks", archive("blocks")),
        ("resharing", vec!["reshare_events".into()]),
        ("progress", vec!["marshal-application-metadata".into(), "marshal-cache-metadata".into()]),
    ];
    for epoch in 0..epochs {
        partitions.push(("votes", vec![format!("simplex_consensus_{epoch}")]));
        for name in ["verified", "notarized", "certified", "notarizations", "finalizations"] {
            partitions.push(("not final", archive(&format!("marshal-cache-cache-{epoch}-{name}"))));
        }
    }
    let mut sizes = BTreeMap::<_, Size>::new();
    for (kind, names) in partitions {
        let size = sizes.entry(kind).or_default();
        for name in names {
            let partition = format!("{}-{name}", world.name(index));
            for file in world.context.scan(&partition).await.unwrap_or_default() {
                let (blob, bytes) = world.context.open(&partition, &file).await.unwrap();
                blob.sync().await.unwrap();
                *size = Size { files: size.files + 1, bytes: size.bytes + bytes };
            }
        }
    }
    sizes
}

fn bytes_beside_blocks(world: &World, index: usize) -> u64 {
    let of_space = |space| {
        let pairs =
            world.stores[index].scan(Space::new(space), KeyRange::all(), Order::Ascending, usize::MAX);
        pairs.unwrap().iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
    };
    BESIDE_BLOCKS.into_iter().map(of_space).sum::<usize>() as u64
}

#[test]
fn hundreds_of_epochs_leave_blocks_and_certificates_and_nothing_else() {
    // The window of blocks and certificates is equally full at both heights.
    const EPOCHS: [u64; 2] = [200, 200 + 2 * SECTION_BLOCKS / EPOCH_BLOCKS];
    let shape = Shape { founders: 1, followers: 1, epoch_blocks: EPOCH_BLOCKS, seed: 13 };
    simulate(shape, |world| async {
        let mut world = world;
        world.timing.heartbeat = Duration::from_millis(50);
        world.start(0).await;
        let (mut engine, mut ledger) = (Vec::new(), Vec::new());
        for epochs in EPOCHS {
            world.reach(epochs * EPOCH_BLOCKS).await;
            world.crash(0);
            world.context.sleep(Duration::from_secs(1)).await;
            engine.push(engine_sizes(&world, 0, epochs + 4).await);
            ledger.push(bytes_beside_blocks(&world, 0));
            world.start(0).await;
        }
        for kind in engine[0].keys() {
            let [before, after] = [engine[0][kind], engine[1][kind]];
            assert!(before.bytes > 0, "{kind} are kept elsewhere");
            // An epoch more or less. What grows with the chain grows by more than half.
            let grows = after.bytes > before.bytes * 6 / 5 || after.files > before.files * 6 / 5;
            assert!(!grows, "{kind}: {before:?} {after:?}");
        }
        // Two files for each section of the window. The index in memory and the open files are proportional.
        let sections = (MARGIN_BLOCKS / SECTION_BLOCKS + 2) as usize;
        assert!(engine[1]["certificates"].files <= 2 * sections + 2, "{:?}", engine[1]);
        let blocks = (EPOCHS[1] - EPOCHS[0]) * EPOCH_BLOCKS;
        let daily = (ledger[1] - ledger[0]) * DAY_BLOCKS / blocks;
        assert!(daily < DAY_BYTES_MAX, "{daily} bytes a day beside blocks");

        // A new node gets early blocks and certificates from a node that has them outside its window.
        world.start(1).await;
        world.reach(EPOCHS[1] * EPOCH_BLOCKS).await;
        let certified = |height: &u64| world.nodes[&1].ledger.certificate(*height).unwrap().is_some();
        let early = (1..=4 * EPOCH_BLOCKS).filter(certified).count();
        assert!(early > 0, "no early certificate was fetched");
        (world.agreed(), world)
    });
}
