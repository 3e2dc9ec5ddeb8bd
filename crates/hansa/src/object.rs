//! The commands about objects: put, update, ls, get, share, revoke, verify, repair, log, block ls, block gc.

use std::path::{Path, PathBuf};

use hansa_client::{Client, OpenOptions, Opened, PutOptions, Source};
use hansa_types::{
    ObjectId, Version, Visibility,
    api::{Fault, FaultLayer, GrantRequest, LogEntry, Progress, PutReceipt, Recorded, VerifyRequest},
};
use indicatif::HumanBytes;
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    cli::{Get, Put, Repair, Revoke, Share, Update, Verify},
    output::{Bar, Output, table},
    problem::CliError,
};

pub(crate) async fn put(client: &Client, options: &Put, output: Output) -> Result<(), CliError> {
    let (source, put) = source(options).await?;
    let bar = Mutex::new(output.bar());
    let receipt = client.put(source, &put, |p: Progress| bar.lock().show(&p)).await?;
    drop(bar);
    output.result(&with_rate(&receipt), |_| described(&receipt));
    Ok(())
}

pub(crate) async fn update(client: &Client, options: &Update, output: Output) -> Result<(), CliError> {
    let (source, put) = source(&options.put).await?;
    let bar = Mutex::new(output.bar());
    let receipt = client.update(options.object, source, &put, |p: Progress| bar.lock().show(&p)).await?;
    drop(bar);
    output.result(&with_rate(&receipt), |_| described(&receipt));
    Ok(())
}

async fn source(options: &Put) -> Result<(Source, PutOptions), CliError> {
    let source =
        if options.path == Path::new("-") { Source::stdin() } else { Source::path(&options.path).await? };
    let put =
        PutOptions { name: options.name.clone(), replicas: Some(options.replicas), ..PutOptions::default() };
    Ok((source, put))
}

/// The receipt as JSON with the rate that people compare.
fn with_rate(receipt: &PutReceipt) -> serde_json::Value {
    let mut value = json!(receipt);
    value["mbPerS"] = json!(rate(receipt));
    value
}

fn rate(receipt: &PutReceipt) -> f64 {
    receipt.size as f64 / 1e6 / receipt.seconds.max(1e-6)
}

fn described(receipt: &PutReceipt) -> String {
    let replicas: Vec<String> = receipt.replicas.iter().map(ToString::to_string).collect();
    format!(
        "object {} version {}\n  {} bytes in {} files, {:.2} s, {:.1} MB/s\n  CID {}\n  final in block {}, transaction {}\n  kept by members {}",
        receipt.id,
        receipt.version,
        receipt.size,
        receipt.files,
        receipt.seconds,
        rate(receipt),
        receipt.cid,
        receipt.block,
        receipt.transaction,
        replicas.join(", ")
    )
}

pub(crate) async fn list(client: &Client, output: Output) -> Result<(), CliError> {
    let objects = client.objects().await?;
    output.result(&json!({ "objects": objects }), |_| {
        let rows: Vec<[String; 6]> = objects
            .iter()
            .map(|o| {
                let shared: Vec<String> = o.shared_with.iter().map(ToString::to_string).collect();
                [
                    o.id.to_string(),
                    o.version.to_string(),
                    o.name.clone().unwrap_or_else(|| "(not readable here)".into()),
                    o.size.map_or_else(|| format!("≤ {}", o.size_class), |size| size.to_string()),
                    format!("{:?}", o.visibility).to_lowercase(),
                    shared.join(","),
                ]
            })
            .collect();
        table(&["object", "version", "name", "bytes", "visibility", "shared with"], &rows)
    });
    Ok(())
}

pub(crate) async fn get(client: &Client, options: &Get, output: Output) -> Result<(), CliError> {
    let start = std::time::Instant::now();
    let open = OpenOptions { version: options.at.map(Version), ask_owner: options.ask_owner };
    let bar = Mutex::new(output.bar());
    let opened = client.open_with_progress(options.object, open, |p: Progress| bar.lock().show(&p)).await?;
    let facts = json!({ "id": opened.id(), "version": opened.version(), "name": opened.name(), "files": opened.files() });
    if options.output.as_deref() == Some(Path::new("-")) {
        drop(bar);
        opened.write_to(&mut tokio::io::stdout(), |_| {}).await?;
        return Ok(());
    }
    let to = destination(options, &opened);
    let mut bar = bar.into_inner();
    let bytes = save(opened, &to, options.force, &mut bar).await?;
    drop(bar);
    let mut result = facts;
    result["path"] = json!(to);
    result["bytes"] = json!(bytes);
    result["seconds"] = json!(start.elapsed().as_secs_f64());
    output.result(&result, |_| format!("{}: {bytes} bytes, checked against the chain", to.display()));
    Ok(())
}

async fn save(opened: Opened, to: &Path, force: bool, bar: &mut Bar) -> Result<u64, CliError> {
    Ok(opened.save(to, force, |p: Progress| bar.show(&p)).await?)
}

fn destination(options: &Get, opened: &Opened) -> PathBuf {
    options.output.clone().unwrap_or_else(|| {
        // The name comes from the owner: only its last part may name a file here.
        let name = Path::new(opened.name()).file_name().map(PathBuf::from);
        name.unwrap_or_else(|| options.object.to_string().replace('/', "-").into())
    })
}

pub(crate) async fn share(client: &Client, options: &Share, output: Output) -> Result<(), CliError> {
    let (recorded, with) = if options.audience.public {
        (client.set_visibility(options.object, Visibility::Public).await?, "everyone".to_owned())
    } else if options.audience.all {
        (client.set_visibility(options.object, Visibility::Members).await?, "every member".to_owned())
    } else {
        let request = GrantRequest {
            to: options.audience.with.clone(),
            expires_at: options.expires_at,
            max_openings: options.max_openings,
            deposit: options.deposit,
        };
        let names: Vec<String> = request.to.iter().map(ToString::to_string).collect();
        (client.share(options.object, &request).await?, format!("member {}", names.join(", ")))
    };
    output.result(&recorded, |r| format!("{} is open to {with}, {}", options.object, recorded_in(r)));
    Ok(())
}

fn recorded_in(recorded: &Recorded) -> String {
    let transactions: Vec<String> = recorded.transactions.iter().map(ToString::to_string).collect();
    format!("final in block {} ({})", recorded.block, transactions.join(", "))
}

pub(crate) async fn revoke(client: &Client, options: &Revoke, output: Output) -> Result<(), CliError> {
    let recorded = client.revoke(options.object, options.from).await?;
    output.result(&recorded, |r| {
        format!(
            "member {} can no longer open {}, {}\nWhat it has been able to read stays readable; the next version is sealed under a new key.",
            options.from,
            options.object,
            recorded_in(r)
        )
    });
    Ok(())
}

pub(crate) async fn verify(client: &Client, options: &Verify, output: Output) -> Result<(), CliError> {
    let bar = Mutex::new(output.bar());
    let report =
        client.verify(options.object, &VerifyRequest::default(), |p: Progress| bar.lock().show(&p)).await?;
    drop(bar);
    let nodes: Vec<String> = report.nodes.iter().map(ToString::to_string).collect();
    let compared = format!(
        "{} blocks, {} bytes compared with the chain at height {} on the nodes of members {}",
        report.blocks,
        report.bytes,
        report.height,
        nodes.join(", ")
    );
    output.result(&report, |report| {
        let mut lines: Vec<String> = report.faults.iter().map(fault).collect();
        lines.push(compared.clone());
        lines.join("\n")
    });
    match report.faults.first() {
        None => Ok(()),
        Some(first) => {
            Err(CliError::Abnormal(format!("{} faults, the first: {}", report.faults.len(), fault(first))))
        }
    }
}

fn fault(fault: &Fault) -> String {
    let layer = match fault.layer {
        FaultLayer::Consortium => "consortium data abnormal",
        FaultLayer::Ipfs => "IPFS data abnormal",
        FaultLayer::DataCentre => "data-centre data abnormal",
    };
    let block = match (&fault.cid, fault.height) {
        (Some(cid), _) => format!(", block {cid}"),
        (None, Some(height)) => format!(", block {height}"),
        (None, None) => String::new(),
    };
    format!("{layer}: member {}{block}: {}", fault.dc_id, fault.detail)
}

pub(crate) async fn repair(client: &Client, options: &Repair, output: Output) -> Result<(), CliError> {
    let bar = Mutex::new(output.bar());
    let report = client.repair(options.object, |p: Progress| bar.lock().show(&p)).await?;
    drop(bar);
    output.result(&report, |report| {
        let mut lines = vec![format!("{} blocks fetched anew", report.repaired.len())];
        lines.extend(report.repaired.iter().map(|cid| format!("  {cid}")));
        lines.join("\n")
    });
    match report.remaining.first() {
        None => Ok(()),
        Some(first) => {
            Err(CliError::Abnormal(format!("{} faults remain: {}", report.remaining.len(), fault(first))))
        }
    }
}

pub(crate) async fn log(client: &Client, object: ObjectId, output: Output) -> Result<(), CliError> {
    let events = client.log(object).await?;
    output.result(&json!({ "events": events }), |_| {
        let rows: Vec<[String; 6]> = events.iter().map(event).collect();
        table(&["block", "time", "event", "version", "member", "detail"], &rows)
    });
    Ok(())
}

fn event(entry: &LogEntry) -> [String; 6] {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".into());
    [
        entry.block.to_string(),
        entry.timestamp.to_string(),
        format!("{:?}", entry.kind).to_lowercase(),
        or_dash(entry.version.map(|v| v.to_string())),
        or_dash(entry.dc_id.map(|dc| dc.to_string())),
        entry.detail.clone(),
    ]
}

pub(crate) async fn blocks(client: &Client, object: ObjectId, output: Output) -> Result<(), CliError> {
    let blocks = client.stored_blocks(object).await?;
    output.result(&json!({ "blocks": blocks }), |_| {
        let rows: Vec<[String; 4]> = blocks
            .iter()
            .map(|b| {
                let (path, offset) = match &b.file {
                    Some(file) => (file.path.clone(), file.offset.to_string()),
                    None => Default::default(),
                };
                [b.cid.clone(), b.bytes.to_string(), path, offset]
            })
            .collect();
        table(&["CID", "bytes", "file", "offset"], &rows)
    });
    Ok(())
}

pub(crate) async fn collect_garbage(client: &Client, output: Output) -> Result<(), CliError> {
    let collected = client.collect_garbage().await?;
    output.result(&collected, |c| format!("{} blocks removed, {}", c.blocks, HumanBytes(c.bytes)));
    Ok(())
}
