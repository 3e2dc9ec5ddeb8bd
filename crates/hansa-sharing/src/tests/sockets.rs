//! The main flow once more over the real private swarm, on loopback.

use hansa_api::{Code, FaultLayer};
use hansa_types::Version;

use super::consortium::{Consortium, quiet};
use crate::{OpenMode, allocate};

#[tokio::test(flavor = "multi_thread")]
async fn put_share_open_refuse_damage_and_repair_between_real_nodes() {
    let (net, swarms) = Consortium::start_on_sockets(4).await;
    let (a, b, c) = (net.node(1), net.node(2), net.node(3));
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| i.to_le_bytes()[1] ^ i.to_le_bytes()[0]).collect();
    let receipt = a.put("large.bin", &bytes).await;
    let object = receipt.id;
    assert_eq!(receipt.replicas.len(), 3, "{receipt:?}");
    a.share(object, b, |_| ()).await;
    assert!(b.get(object, None).await.unwrap() == bytes);
    assert_eq!(c.get(object, None).await.unwrap_err().code(), Code::AccessRefused);
    let asked = c.sharing.open(object, Some(Version(1)), OpenMode::AskOwnerOnly).await;
    assert_eq!(asked.unwrap_err().code(), Code::KeyRefused);

    let keeper = net.node(allocate(object, &net.ledger.members())[1].value());
    let blocks = keeper.sharing.stored_blocks(object).await.unwrap();
    let cid = blocks.into_iter().find(|block| block.file.is_some() && block.bytes > 500_000).unwrap().cid;
    assert!(keeper.flip(&cid));
    let report = a.verify(object).await;
    assert_eq!(report.faults.len(), 1, "{report:?}");
    assert_eq!((report.faults[0].layer, report.faults[0].dc_id), (FaultLayer::Ipfs, keeper.id));
    assert_eq!(report.faults[0].cid.as_deref(), Some(cid.as_str()));
    assert_eq!(keeper.sharing.repair(Some(object), quiet()).await.unwrap().repaired, [cid]);
    assert!(a.verify(object).await.is_clean());

    a.share(object, c, |grant| grant.deposit = true).await;
    a.share(object, net.node(4), |_| ()).await;
    swarms[0].shutdown().await;
    assert!(c.get(object, None).await.unwrap() == bytes, "ciphertext from replicas, key from the deposit");
    assert_eq!(net.node(4).get(object, None).await.unwrap_err().code(), Code::OwnerUnreachable);
    for swarm in &swarms {
        swarm.shutdown().await;
    }
}
