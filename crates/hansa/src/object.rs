//! The commands about objects: put, update, get, share, revoke, verify, repair, log, block ls, block gc.

use std::path::Path;

use hansa_api::{
    Code, Fault, FaultLayer, GrantRequest, LogEntry, ObjectSummary, Progress, PutReceipt, Recorded,
    VerifyRequest,
};
use hansa_client::{Client, ClientError, Destination, OpenOptions, PutOptions, Source, Special};
use hansa_types::{ObjectId, Version, Visibility, printable, utc};
use indicatif::HumanBytes;
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    cli::{Get, Put, Repair, Revoke, Share, Update, Verify},
    output::{Output, table},
    problem::CliError,
};

pub(crate) async fn put(client: &Client, options: &Put, output: Output) -> Result<(), CliError> {
    let (source, put) = source(options).await?;
    let left_out = left_out(&source, output);
    let bar = Mutex::new(output.bar());
    let receipt = client.put(source, &put, |p: Progress| bar.lock().show(&p)).await?;
    drop(bar);
    output.result(&as_json(&receipt, left_out), |_| described(&receipt));
    all_replicas(&receipt)
}

pub(crate) async fn update(client: &Client, options: &Update, output: Output) -> Result<(), CliError> {
    let (source, put) = source(&options.put).await?;
    let left_out = left_out(&source, output);
    let bar = Mutex::new(output.bar());
    let receipt = client.update(options.object, source, &put, |p: Progress| bar.lock().show(&p)).await?;
    drop(bar);
    output.result(&as_json(&receipt, left_out), |_| described(&receipt));
    all_replicas(&receipt)
}

async fn source(options: &Put) -> Result<(Source, PutOptions), CliError> {
    let special = if options.skip_special { Special::LeaveOut } else { Special::Refuse };
    let source = match options.path == Path::new("-") {
        true => Source::stdin(),
        false => Source::path(&options.path, special).await?,
    };
    let put = PutOptions { name: options.name.clone(), replicas: options.replicas, ..PutOptions::default() };
    Ok((source, put))
}

/// Says so where fewer members keep the version than were asked to: it is recorded, and not as safe as it should be.
fn all_replicas(receipt: &PutReceipt) -> Result<(), CliError> {
    match receipt.replicas_short() {
        0 => Ok(()),
        short => Err(CliError::FewReplicas { id: receipt.id, asked: receipt.asked, short }),
    }
}

/// Names what is not sent. Answers the same for the receipt.
fn left_out(source: &Source, output: Output) -> Vec<String> {
    let lines = source.left_out().map(hansa_client::LeftOut::lines).unwrap_or_default();
    for line in &lines {
        output.note(&format!("left out: {line}"));
    }
    lines
}

/// The receipt as JSON, with the rate that people compare and what was left out.
fn as_json(receipt: &PutReceipt, left_out: Vec<String>) -> serde_json::Value {
    let mut value = json!(receipt);
    value["mbPerS"] = json!(rate(receipt));
    if !left_out.is_empty() {
        value["leftOut"] = json!(left_out);
    }
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

pub(crate) async fn get(client: &Client, options: &Get, output: Output) -> Result<(), CliError> {
    let start = std::time::Instant::now();
    let destination = match &options.output {
        _ if options.to_stdout() => None,
        Some(path) => Some(Destination::at(path, options.force)?),
        None => Some(Destination::within(Path::new("."))?),
    };
    if let Some(destination) = &destination {
        check_room(client, options, destination).await?;
    }
    let open = OpenOptions { version: options.at.map(Version), ask_owner: options.ask_owner };
    let bar = Mutex::new(output.bar());
    let opened = client.open_with_progress(options.object, open, |p: Progress| bar.lock().show(&p)).await?;
    let Some(destination) = destination else {
        drop(bar);
        opened.write_to(&mut tokio::io::stdout(), |_| {}).await?;
        return Ok(());
    };
    let mut result = json!({ "id": opened.id(), "version": opened.version(), "name": opened.name(), "files": opened.files() });
    let renamed = options.output.is_none() && opened.file_name() != opened.name();
    let name = printable(opened.name());
    let mut bar = bar.into_inner();
    let saved = opened.save(destination, |p: Progress| bar.show(&p)).await?;
    drop(bar);
    if renamed {
        output.note(&format!(
            "the owner's name for it, \"{name}\", is not safe as a file name; choose one with -o"
        ));
    }
    result["path"] = json!(saved.path);
    result["bytes"] = json!(saved.bytes);
    result["seconds"] = json!(start.elapsed().as_secs_f64());
    output.result(&result, |_| {
        let path = printable(&saved.path.to_string_lossy());
        format!("{path}: {} bytes, checked against the chain", saved.bytes)
    });
    Ok(())
}

/// Compares the free space with what the object is known to need, before an opening is spent on it.
async fn check_room(client: &Client, options: &Get, destination: &Destination) -> Result<(), CliError> {
    match client.object(options.object).await {
        // Another version may be of any size.
        Ok(summary) if options.at.is_none_or(|version| version == summary.version.0) => {
            Ok(destination.room(at_least(&summary))?)
        }
        // An older node has no such endpoint, and one that cannot answer says the same to the opening.
        Err(ClientError::Node(problem)) if problem.code == Code::UnknownObject => {
            Err(ClientError::Node(problem).into())
        }
        _ => Ok(()),
    }
}

/// Bytes that the latest version has at least. Its padded size is at most 12 % more; the smallest padded size says
/// nothing. The size that the node remembers may be of an earlier version.
fn at_least(summary: &ObjectSummary) -> u64 {
    const SMALLEST: u64 = 4_096;
    let padded = summary.size_class;
    if padded > SMALLEST { padded.saturating_sub(padded / 8) } else { 0 }
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
            "member {} can no longer open {}, {}\nVersions that it has opened stay readable to it; the next version is sealed under a new key.",
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
        if report.faults_more > 0 {
            lines.push(format!("and {} faults more", report.faults_more));
        }
        lines.extend(report.given_up.iter().map(|of| {
            format!("not kept, its owner is at fault: object {} version {}: {}", of.id, of.version, of.reason)
        }));
        lines.push(format!(
            "versions checked: {} of own objects, {} of other members' objects",
            report.own_versions, report.replica_versions
        ));
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
    format!("{layer}: member {}{block}: {}", fault.dc_id, printable(&fault.detail))
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
        utc(entry.timestamp),
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
