//! The commands about lists: ls, index status, index rebuild.

use std::time::Duration;

use hansa_api::{IndexStatus, ObjectSort, ObjectSummary, ObjectsRequest};
use hansa_client::Client;
use serde_json::json;

use crate::{
    cli::{Index, Ls, Sort},
    output::{Output, table},
    problem::CliError,
};

/// Most objects that one request asks for.
const PAGE: u32 = 1_000;
/// How often a rebuild is asked how far it is.
const INTERVAL: Duration = Duration::from_millis(250);

pub(crate) async fn list(client: &Client, options: &Ls, output: Output) -> Result<(), CliError> {
    let mut request = ObjectsRequest {
        limit: None,
        cursor: options.cursor.clone(),
        owner: options.owner,
        visibility: options.visibility.map(Into::into),
        grantee: options.grantee,
        name: options.name.clone(),
        sort: Some(match options.sort {
            Sort::Newest => ObjectSort::Newest,
            Sort::Oldest => ObjectSort::Oldest,
            Sort::Number => ObjectSort::Number,
            Sort::Name => ObjectSort::Name,
        }),
        at_least: options.at_least,
    };
    let (mut objects, mut height) = (Vec::new(), 0);
    loop {
        let missing = options.limit.saturating_sub(u32::try_from(objects.len()).unwrap_or(u32::MAX));
        request.limit = Some(missing.clamp(1, PAGE));
        let page = client.objects(&request).await?;
        // The oldest page decides what the list holds.
        height = if objects.is_empty() { page.height } else { page.height.min(height) };
        objects.extend(page.objects);
        request.cursor = page.next;
        if request.cursor.is_none() || objects.len() as u64 >= u64::from(options.limit) {
            break;
        }
    }
    let next = request.cursor;
    output.result(&json!({ "objects": objects, "next": next, "height": height }), |_| {
        let rows: Vec<[String; 7]> = objects.iter().map(listed).collect();
        let head = ["object", "version", "name", "bytes", "visibility", "readable", "shared with"];
        let table = table(&head, &rows);
        match &next {
            None => table,
            Some(next) => format!("{table}\n… and more: continue with --cursor {next}"),
        }
    });
    Ok(())
}

fn listed(object: &ObjectSummary) -> [String; 7] {
    let shared: Vec<String> = object.shared_with.iter().map(ToString::to_string).collect();
    [
        object.id.to_string(),
        object.version.to_string(),
        object.name.clone().unwrap_or_else(|| "(not known here)".into()),
        object.size.map_or_else(|| format!("≤ {}", object.size_class), |size| size.to_string()),
        format!("{:?}", object.visibility).to_lowercase(),
        if object.readable { "yes" } else { "no" }.to_owned(),
        shared.join(","),
    ]
}

pub(crate) async fn index(client: &Client, command: &Index, output: Output) -> Result<(), CliError> {
    let status = match command {
        Index::Status => client.index().await?,
        Index::Rebuild => rebuild(client, output).await?,
    };
    output.result(&json!(status), |_| described(&status));
    Ok(())
}

/// Waits until the index holds what was final at the beginning.
async fn rebuild(client: &Client, output: Output) -> Result<IndexStatus, CliError> {
    let mut status = client.rebuild_index().await?;
    let head = status.head;
    let mut bar = output.bar();
    while status.height.is_none_or(|height| height < head) {
        bar.count("indexing blocks", status.height.unwrap_or(0), head);
        tokio::time::sleep(INTERVAL).await;
        status = client.index().await?;
    }
    Ok(status)
}

fn described(status: &IndexStatus) -> String {
    let height = status.height.map_or_else(|| "empty".to_owned(), |height| format!("height {height}"));
    let head = status.head;
    let mut text = format!("{}: {height} of {head}, names of {} objects", status.database, status.names);
    if let Some(problem) = &status.problem {
        text = format!("{text}\n  it does not go on: {problem}");
    }
    text
}
