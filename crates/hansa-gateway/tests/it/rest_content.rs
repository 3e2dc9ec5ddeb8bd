//! Content through the REST interface: files, folders, streams, and what goes wrong with them.

use std::{fs, path::Path};

use hansa_client::{ClientError, OpenOptions, PutOptions, Source};
use hansa_types::{
    Version, Visibility,
    api::{Code, Line, ObjectKind, PutMeta, PutReceipt, header},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::rest::{Rest, problem};

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn tree(root: &Path) {
    fs::create_dir_all(root.join("a/deep/er")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("a/one.json"), b"{}").unwrap();
    fs::write(root.join("a/deep/er/zwölf.bin"), noise(300_001)).unwrap();
    fs::write(root.join("nothing"), b"").unwrap();
    fs::write(root.join(format!("{}.txt", "long".repeat(40))), b"long").unwrap();
}

fn listing(root: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.push((name, None));
                folders.push(path);
            } else {
                found.push((name, Some(fs::read(path).unwrap())));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn files_of_any_size_come_back_byte_for_byte() {
    let rest = Rest::new().await;
    let folder = tempfile::tempdir().unwrap();
    for (number, length) in (1..).zip([0, 1, 999, 1_000, 5_000_000]) {
        let path = folder.path().join("größe & name.bin");
        fs::write(&path, noise(length)).unwrap();
        let options =
            PutOptions { visibility: Some(Visibility::Members), replicas: Some(2), ..PutOptions::default() };
        let mut last = 0;
        let source = Source::path(&path).await.unwrap();
        let receipt = rest.client.put(source, &options, |p| last = p.done).await.unwrap();
        assert_eq!((receipt.size, receipt.files, receipt.version), (length as u64, 1, Version(1)));
        assert!(last <= length as u64);
        let (meta, _) = rest.vault.stored(number, 1);
        assert_eq!((meta.name.as_str(), meta.replicas), ("größe & name.bin", Some(2)));
        let opened = rest.client.open(receipt.id, OpenOptions::default()).await.unwrap();
        assert_eq!(
            (opened.name(), opened.kind(), opened.size()),
            ("größe & name.bin", ObjectKind::File, length as u64)
        );
        let to = folder.path().join(format!("copy-{length}"));
        let mut reports = Vec::new();
        opened.save(&to, false, |p| reports.push(p)).await.unwrap();
        assert_eq!(fs::read(&to).unwrap(), noise(length));
        assert!(reports.last().is_none_or(|p| p.done == length as u64));
    }
}

#[tokio::test]
async fn folders_come_back_whole() {
    let rest = Rest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("orders");
    tree(&root);
    let receipt =
        rest.client.put(Source::path(&root).await.unwrap(), &PutOptions::default(), drop).await.unwrap();
    assert_eq!((receipt.files, receipt.size), (4, 300_007));
    let opened = rest.client.open(receipt.id, OpenOptions::default()).await.unwrap();
    assert_eq!(
        (opened.file_name().as_str(), opened.kind(), opened.files()),
        ("orders", ObjectKind::Directory, 4)
    );
    let to = folder.path().join("copy");
    opened.save(&to, false, drop).await.unwrap();
    assert_eq!(listing(&to), listing(&root));
    let opened = rest.client.open(receipt.id, OpenOptions::default()).await.unwrap();
    assert!(matches!(opened.save(&to, false, drop).await, Err(ClientError::Exists { .. })));
    fs::write(to.join("stale"), b"x").unwrap();
    let opened = rest.client.open(receipt.id, OpenOptions::default()).await.unwrap();
    opened.save(&to, true, drop).await.unwrap();
    assert_eq!(listing(&to), listing(&root));
    let opened = rest.client.open(receipt.id, OpenOptions::default()).await.unwrap();
    let mut archive = Vec::new();
    opened.write_to(&mut archive, drop).await.unwrap();
    let mut archive = tar::Archive::new(archive.as_slice());
    assert_eq!(archive.entries().unwrap().count(), listing(&root).len());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing half-made is left: {left:?}");
}

#[tokio::test]
async fn versions_and_streams() {
    let rest = Rest::new().await;
    let first = Source::reader("note", &b"first"[..]);
    let receipt = rest.client.put(first, &PutOptions::default(), drop).await.unwrap();
    let named = PutOptions { name: Some("better name".to_owned()), ..PutOptions::default() };
    let second = Source::reader("note", &b"second"[..]);
    let updated = rest.client.update(receipt.id, second, &named, drop).await.unwrap();
    assert_eq!(updated.version, Version(2));
    for (version, expected) in
        [(Some(Version(1)), &b"first"[..]), (Some(Version(2)), b"second"), (None, b"second")]
    {
        let opened = rest.client.open(receipt.id, OpenOptions { version, ask_owner: false }).await.unwrap();
        let mut bytes = Vec::new();
        opened.write_to(&mut bytes, drop).await.unwrap();
        assert_eq!(bytes, expected);
    }
    let absent = OpenOptions { version: Some(Version(3)), ask_owner: false };
    assert_eq!(rest.client.open(receipt.id, absent).await.unwrap_err().code(), Some(Code::UnknownVersion));
    assert_eq!(rest.client.objects().await.unwrap()[0].name.as_deref(), Some("better name"));
}

#[tokio::test]
async fn a_refused_upload_says_why_although_it_was_not_read() {
    let rest = Rest::new().await;
    for (object, code) in [("2/1", Code::NotOwner), ("1/9", Code::UnknownObject)] {
        let endless = Source::reader("endless", tokio::io::repeat(7));
        let update = rest.client.update(object.parse().unwrap(), endless, &PutOptions::default(), drop).await;
        assert_eq!(update.unwrap_err().code(), Some(code), "{object}");
    }
    let stranger = hansa_client::Client::new(&rest.url(""), hansa_gateway::Token::random().reveal()).unwrap();
    let endless = Source::reader("endless", tokio::io::repeat(7));
    let error = stranger.put(endless, &PutOptions::default(), drop).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Unauthenticated), "{error:?}");
}

#[tokio::test]
async fn content_that_ends_early_is_never_taken_for_whole() {
    let rest = Rest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let receipt = rest
        .client
        .put(Source::reader("broken", std::io::Cursor::new(noise(50_000))), &PutOptions::default(), drop)
        .await
        .unwrap();
    let opened = rest.client.open(receipt.id, OpenOptions::default()).await.unwrap();
    let to = folder.path().join("broken");
    let error = opened.save(&to, false, drop).await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn meta(kind: ObjectKind, name: &str) -> String {
    let meta = PutMeta {
        name: name.to_owned(),
        kind,
        size: None,
        visibility: None,
        valid_until: None,
        replicas: None,
    };
    utf8_percent_encode(&serde_json::to_string(&meta).unwrap(), NON_ALPHANUMERIC).to_string()
}

async fn upload(rest: &Rest, media: &str, meta: String, body: Vec<u8>) -> reqwest::Response {
    let request = reqwest::Client::new().post(rest.url("/v1/objects")).bearer_auth(rest.token.reveal());
    request.header("content-type", media).header(header::META, meta).body(body).send().await.unwrap()
}

async fn last_line(response: reqwest::Response) -> Line<PutReceipt> {
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[tokio::test]
async fn metadata_is_checked_before_anything_is_read() {
    let rest = Rest::new().await;
    let octets = "application/octet-stream";
    for name in ["", ".", "..", "a/b", "a\\b", &"x".repeat(256)] {
        let answer = upload(&rest, octets, meta(ObjectKind::File, name), vec![1]).await;
        assert_eq!(problem(answer).await.code, Code::Malformed, "{name:?}");
    }
    for bad in ["", "%", "%7b%7d", "{}", &"x".repeat(9_000), "%ff"] {
        let answer = upload(&rest, octets, bad.to_owned(), vec![1]).await;
        assert_eq!(problem(answer).await.code, Code::Malformed, "{bad:?}");
    }
    let answer = upload(&rest, octets, meta(ObjectKind::Directory, "x"), vec![1]).await;
    assert_eq!(problem(answer).await.code, Code::UnsupportedMedia);
    assert!(rest.client.objects().await.unwrap().is_empty());
}

#[tokio::test]
async fn archives_that_are_none_or_climb_out_are_refused() {
    let rest = Rest::new().await;
    let mut climbing = tar::Header::new_gnu();
    climbing.set_size(0);
    climbing.as_old_mut().name[..4].copy_from_slice(b"../x");
    climbing.set_cksum();
    let mut climbing = climbing.as_bytes().to_vec();
    climbing.resize(1_536, 0);
    let cases = [
        (climbing.clone(), Code::UnsafePath),
        (vec![b'x'; 2_000], Code::Malformed),
        (climbing[..100].to_vec(), Code::UploadInterrupted),
    ];
    for (body, code) in cases {
        let answer = upload(&rest, "application/x-tar", meta(ObjectKind::Directory, "x"), body).await;
        match last_line(answer).await {
            Line::Error(problem) => assert_eq!(problem.code, code, "{problem}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(rest.client.objects().await.unwrap().is_empty());
}

#[tokio::test]
async fn links_in_a_folder_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
    assert!(matches!(Source::path(folder.path()).await, Err(ClientError::Unpackable { .. })));
    assert!(matches!(Source::path(&folder.path().join("none")).await, Err(ClientError::File { .. })));
}
