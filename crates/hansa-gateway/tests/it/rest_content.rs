//! Content through the REST interface: files, folders, streams, and what goes wrong with them.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use hansa_api::{Code, ObjectKind, ObjectPage, ObjectsRequest, PutMeta, header};
use hansa_client::{ClientError, Destination, OpenOptions, Opened, PutOptions, Source, Special};
use hansa_types::{ObjectId, Version, Visibility};
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

async fn source(path: &Path) -> Source {
    Source::path(path, Special::Refuse).await.unwrap()
}

async fn put(rest: &Rest, source: Source) -> ObjectId {
    rest.client.put(source, &PutOptions::default(), drop).await.unwrap().id
}

async fn open(rest: &Rest, id: ObjectId) -> Opened {
    rest.client.open(id, OpenOptions::default()).await.unwrap()
}

fn at(to: &Path) -> Destination {
    Destination::at(to, false).unwrap()
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
        let source = source(&path).await;
        let receipt = rest.client.put(source, &options, |p| last = p.done).await.unwrap();
        assert_eq!((receipt.size, receipt.files, receipt.version), (length as u64, 1, Version(1)));
        assert!(last <= length as u64);
        let (meta, _) = rest.vault.stored(number, 1);
        assert_eq!((meta.name.as_deref(), meta.replicas), (Some("größe & name.bin"), Some(2)));
        let opened = rest.client.open(receipt.id, OpenOptions::default()).await.unwrap();
        assert_eq!(
            (opened.name(), opened.kind(), opened.size()),
            ("größe & name.bin", ObjectKind::File, length as u64)
        );
        let to = folder.path().join(format!("copy-{length}"));
        let mut reports = Vec::new();
        opened.save(at(&to), |p| reports.push(p)).await.unwrap();
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
    let receipt = rest.client.put(source(&root).await, &PutOptions::default(), drop).await.unwrap();
    assert_eq!((receipt.files, receipt.size), (4, 300_007));
    let opened = rest.client.open(receipt.id, OpenOptions::default()).await.unwrap();
    assert_eq!(
        (opened.file_name().as_str(), opened.kind(), opened.files()),
        ("orders", ObjectKind::Directory, 4)
    );
    let to = folder.path().join("copy");
    opened.save(at(&to), drop).await.unwrap();
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
    let named = |objects: ObjectPage| objects.objects[0].name.clone();
    assert_eq!(
        named(rest.client.objects(&ObjectsRequest::default()).await.unwrap()).as_deref(),
        Some("better name")
    );
    // An update that names nothing keeps the object's name, whatever its file is called.
    let third = Source::reader("stdin", &b"third"[..]);
    rest.client.update(receipt.id, third, &PutOptions::default(), drop).await.unwrap();
    assert_eq!(
        named(rest.client.objects(&ObjectsRequest::default()).await.unwrap()).as_deref(),
        Some("better name")
    );
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
    let error = opened.save(at(&to), drop).await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn meta(kind: ObjectKind, name: &str) -> String {
    let meta = PutMeta {
        name: Some(name.to_owned()),
        kind,
        executable: false,
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

#[tokio::test]
async fn metadata_is_checked_before_anything_is_read() {
    let rest = Rest::new().await;
    let octets = "application/octet-stream";
    for name in ["", ".", "..", "a/b", "a\0b", &"x".repeat(256)] {
        let answer = upload(&rest, octets, meta(ObjectKind::File, name), vec![1]).await;
        assert_eq!(problem(answer).await.code, Code::Malformed, "{name:?}");
    }
    for bad in ["", "%", "%7b%7d", "{}", &"x".repeat(9_000), "%ff"] {
        let answer = upload(&rest, octets, bad.to_owned(), vec![1]).await;
        assert_eq!(problem(answer).await.code, Code::Malformed, "{bad:?}");
    }
    let answer = upload(&rest, octets, meta(ObjectKind::Directory, "x"), vec![1]).await;
    assert_eq!(problem(answer).await.code, Code::UnsupportedMedia);
    assert!(rest.client.objects(&ObjectsRequest::default()).await.unwrap().objects.is_empty());
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
        assert_eq!(problem(answer).await.code, code);
    }
    assert!(rest.client.objects(&ObjectsRequest::default()).await.unwrap().objects.is_empty());
}

#[tokio::test]
async fn a_new_object_needs_a_name_and_lists_come_in_pages() {
    let rest = Rest::new().await;
    let unnamed = utf8_percent_encode(r#"{"kind":"file"}"#, NON_ALPHANUMERIC).to_string();
    let answer = upload(&rest, "application/octet-stream", unnamed, vec![1]).await;
    assert_eq!(problem(answer).await.code, Code::Malformed);
    for _ in 0..10 {
        put(&rest, Source::reader("x", &b"x"[..])).await;
    }
    let request = ObjectsRequest { limit: Some(6), ..ObjectsRequest::default() };
    let list = rest.client.objects(&request).await.unwrap();
    assert_eq!((list.objects.len(), list.next.as_deref(), list.height), (6, Some("6"), 7));
    let rest_of_it =
        rest.client.objects(&ObjectsRequest { cursor: list.next.clone(), ..request }).await.unwrap();
    assert_eq!((rest_of_it.objects.len(), rest_of_it.next), (4, None));
    assert_eq!(rest.client.object(list.objects[3].id).await.unwrap(), list.objects[3]);
    let unknown = rest.client.object("1/77".parse().unwrap()).await.unwrap_err();
    assert_eq!(unknown.code(), Some(Code::UnknownObject));
}

#[tokio::test]
async fn links_in_a_folder_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    symlink("/etc/passwd", folder.path().join("link")).unwrap();
    let linked = Source::path(folder.path(), Special::Refuse).await;
    assert!(matches!(linked, Err(ClientError::Unpackable { .. })));
    let absent = Source::path(&folder.path().join("none"), Special::Refuse).await;
    assert!(matches!(absent, Err(ClientError::File { .. })));
}

/// What a folder of a Mac holds, a program, and a file that states no size: all of it comes back.
#[tokio::test]
async fn odd_names_and_programs_come_back() {
    let rest = Rest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tools");
    fs::create_dir(&root).unwrap();
    for name in ["Icon\r", "back\\slash", "line\nbreak", "run.sh", "\u{202e}", &"n".repeat(255)] {
        fs::write(root.join(name), name).unwrap();
    }
    let run = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    run(&root.join("run.sh"));
    let tools = put(&rest, source(&root).await).await;
    let to = folder.path().join("copy");
    open(&rest, tools).await.save(at(&to), drop).await.unwrap();
    assert_eq!(listing(&to), listing(&root));
    let runs = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o100 != 0;
    assert!(runs(&to.join("run.sh")) && !runs(&to.join("Icon\r")));
    for (name, expected) in [("run.sh", true), ("Icon\r", false)] {
        let one = put(&rest, source(&root.join(name)).await).await;
        let to = folder.path().join(format!("one-{expected}"));
        open(&rest, one).await.save(at(&to), drop).await.unwrap();
        assert_eq!(runs(&to), expected, "{name:?}");
    }
}

/// A log that is written to between the look at the folder and its sending: stated sizes promise nothing.
#[tokio::test]
async fn a_folder_that_grows_before_it_is_sent_is_stored_as_it_is_read() {
    let rest = Rest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::write(&log, "one line\n").unwrap();
    let source = source(folder.path()).await;
    fs::write(&log, "one line\nanother line\n").unwrap();
    let receipt = rest.client.put(source, &PutOptions::default(), drop).await.unwrap();
    let to = tempfile::tempdir().unwrap();
    open(&rest, receipt.id).await.save(at(&to.path().join("copy")), drop).await.unwrap();
    assert_eq!(listing(&to.path().join("copy")), listing(folder.path()));
}

/// Nothing that exists is removed or replaced unless it was named; what was opened is kept in any case.
#[tokio::test]
async fn what_is_at_the_destination_stays() {
    let rest = Rest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (root, to) = (folder.path().join("orders"), folder.path().join("to"));
    tree(&root);
    let many = put(&rest, source(&root).await).await;
    let one = put(&rest, Source::reader("letter.txt", &b"hello"[..])).await;
    let force = |to: &Path| Destination::at(to, true).unwrap();
    let open = |id| open(&rest, id);
    fs::create_dir_all(to.join("years/of/study")).unwrap();
    fs::write(to.join("years/of/study/thesis.tex"), "precious").unwrap();
    fs::write(to.join("letter.txt"), "mine").unwrap();
    fs::write(to.join("nothing"), "replaced by the object's own").unwrap();
    // A file goes into a folder under a free name; a folder is merged into it.
    let saved = open(one).await.save(force(&to), drop).await.unwrap();
    assert_eq!(
        (saved.path, fs::read(to.join("letter.txt.1")).unwrap()),
        (to.join("letter.txt.1"), b"hello".into())
    );
    open(many).await.save(force(&to), drop).await.unwrap();
    let there = listing(&to);
    assert!(listing(&root).iter().all(|entry| there.contains(entry)));
    assert_eq!(fs::read(to.join("years/of/study/thesis.tex")).unwrap(), b"precious");
    assert_eq!(fs::read(to.join("letter.txt")).unwrap(), b"mine");
    // A folder of the user's where the object has a file: neither is given up.
    fs::remove_file(to.join("nothing")).unwrap();
    fs::create_dir(to.join("nothing")).unwrap();
    let error = open(many).await.save(force(&to), drop).await.unwrap_err();
    let ClientError::Kept { kept, .. } = error else { panic!("{error:?}") };
    assert_eq!((kept.clone(), listing(&kept)), (to.join("orders"), listing(&root)));
    assert!(to.join("nothing").is_dir());
    // Taken between the check and the end.
    let late = folder.path().join("late");
    let destination = at(&late);
    fs::write(&late, "somebody else's").unwrap();
    let error = open(one).await.save(destination, drop).await.unwrap_err();
    assert!(matches!(error, ClientError::Kept { .. }), "{error:?}");
    assert_eq!(fs::read(&late).unwrap(), b"somebody else's");
    assert_eq!(fs::read(folder.path().join("late.1")).unwrap(), b"hello");
    // Named and forced: replaced, with the rights that it had; of a link, the link alone.
    fs::set_permissions(&late, fs::Permissions::from_mode(0o600)).unwrap();
    open(one).await.save(force(&late), drop).await.unwrap();
    assert_eq!(fs::metadata(&late).unwrap().permissions().mode() & 0o777, 0o600);
    let link = folder.path().join("link");
    symlink(to.join("letter.txt"), &link).unwrap();
    open(one).await.save(force(&link), drop).await.unwrap();
    assert_eq!(
        (fs::read(&link).unwrap(), fs::read(to.join("letter.txt")).unwrap()),
        (b"hello".into(), b"mine".into())
    );
    open(many).await.save(force(&late), drop).await.unwrap();
    assert_eq!(listing(&late), listing(&root));
    let hidden = |path: &Path| {
        fs::read_dir(path).unwrap().any(|e| e.unwrap().file_name().as_encoded_bytes()[0] == b'.')
    };
    assert!(!hidden(folder.path()) && !hidden(&to), "nothing half-made is left");
}

/// A name from a hostile owner chooses no hidden file, no folder above, no option and nothing misleading.
#[tokio::test]
async fn without_a_named_destination_the_owners_name_is_only_a_wish() {
    let rest = Rest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let names = [
        ("letter.txt", "letter.txt"),
        ("letter.txt", "letter.txt.1"),
        (".bashrc", "1-3"),
        ("-rf", "1-4"),
        ("\u{1b}[2J", "1-5"),
        ("a\\..\\b", "1-6"),
        ("fdp\u{202e}exe", "1-7"),
    ];
    for (name, file) in names {
        let id = put(&rest, Source::reader(name, &b"hello"[..])).await;
        let destination = Destination::within(folder.path()).unwrap();
        let saved = open(&rest, id).await.save(destination, drop).await.unwrap();
        assert_eq!(saved.path, folder.path().join(file), "{name:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), names.len());
}

/// The command is dropped when Ctrl-C comes, in the middle of the content.
#[tokio::test]
async fn an_opening_that_is_given_up_leaves_nothing() {
    let rest = Rest::new().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("big"), noise(20_000_000)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for path in [root.join("big"), root.clone()] {
        let id = put(&rest, source(&path).await).await;
        let opened = open(&rest, id).await;
        let destination = at(&folder.path().join("to"));
        let saving = runtime.spawn(opened.save(destination, |progress| {
            if progress.done > 1_000_000 {
                std::panic::resume_unwind(Box::new("given up"));
            }
        }));
        assert!(saving.await.unwrap_err().is_panic());
    }
    // Waits for the threads that write, as the command does.
    tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["root"]);
}
