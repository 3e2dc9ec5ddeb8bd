//! Content on its way in: a request's body, read from a blocking thread as it arrives.

use std::{
    io::{self, Read},
    sync::{Arc, OnceLock},
};

use axum::http::{
    HeaderMap,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use futures::TryStreamExt;
use hansa_api::{Code, Content, ContentEntry, ObjectKind, Problem, PutMeta, header};
use hansa_types::name_problem;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{
    drain::Drained,
    problem::Refusal,
    promise::{BrokenPromise, Count, Promise},
    tar::{Archive, ArchiveError},
    times,
};
/// Longest metadata header.
const META_BYTES: usize = 8 * 1024;
/// What the one file of an upload without a name is called; an update gives it the object's name.
const UNNAMED: &str = "content";

/// Reads what is said about the content, and checks that the body is of that kind. `now` is the chain's time.
///
/// # Errors
/// When the header is missing or cannot be read, when the content would not be valid any more, or the content type is
/// another.
pub(crate) fn meta(headers: &HeaderMap, now: u64) -> Result<PutMeta, Refusal> {
    let malformed =
        |problem: String| Refusal::new(Code::Malformed, format!("header {}: {problem}", header::META));
    let value = headers.get(header::META).ok_or_else(|| malformed("is missing".to_owned()))?;
    if value.len() > META_BYTES {
        return Err(malformed(format!("is longer than {META_BYTES} bytes")));
    }
    let text = percent_encoding::percent_decode(value.as_bytes()).decode_utf8();
    let text = text.map_err(|_| malformed("is not UTF-8".to_owned()))?;
    let meta: PutMeta = serde_json::from_str(&text).map_err(|e| malformed(e.to_string()))?;
    if let Some((name, problem)) = meta.name.as_ref().and_then(|name| Some((name, name_problem(name)?))) {
        return Err(malformed(format!("the name {name:?} {problem}")));
    }
    if let Some(end) = meta.valid_until {
        times::check("validUntil", end)?;
        times::check_ahead("validUntil", end, now)?;
    }
    let (expected, kind) = match meta.kind {
        ObjectKind::File => ("application/octet-stream", "a file"),
        ObjectKind::Directory => ("application/x-tar", "a directory"),
    };
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !given.eq_ignore_ascii_case(expected) {
        return Err(Refusal::new(
            Code::UnsupportedMedia,
            format!("{kind} is sent as {expected}, not as {given:?}"),
        ));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let (ObjectKind::File, Some(announced), Some(came)) = (meta.kind, meta.size, length)
        && announced != came
    {
        return Err(Refusal::new(Code::ContentMismatch, BrokenPromise::Size { announced, came }.to_string()));
    }
    Ok(meta)
}

/// A new object must be given a name; only an update can leave it out.
///
/// # Errors
/// When there is none.
pub(crate) fn named(meta: PutMeta) -> Result<PutMeta, Refusal> {
    match meta.name {
        Some(_) => Ok(meta),
        None => Err(Refusal::new(Code::Malformed, format!("header {}: the name is missing", header::META))),
    }
}

/// Why the body could not be read to its end. Set by the reader, and stronger than what the service made of it.
#[derive(Clone, Default)]
pub(crate) struct Breakage(Arc<OnceLock<Problem>>);

impl Breakage {
    fn note(&self, error: &io::Error) {
        let inner = error.get_ref();
        let archive = inner.and_then(|inner| inner.downcast_ref::<ArchiveError>());
        let problem = match archive {
            Some(error @ ArchiveError::Path { .. }) => Problem::new(Code::UnsafePath, error.to_string()),
            Some(error @ ArchiveError::Malformed(_)) => Problem::new(Code::Malformed, error.to_string()),
            Some(error @ ArchiveError::TooMany) => Problem::new(Code::TooLarge, error.to_string()),
            None if inner.is_some_and(|inner| inner.is::<BrokenPromise>()) => {
                Problem::new(Code::ContentMismatch, error.to_string())
            }
            None => Problem::new(Code::UploadInterrupted, format!("the content broke off: {error}")),
        };
        // The first cause counts.
        let _ = self.0.set(problem);
    }

    /// The problem to answer with when the service failed.
    pub(crate) fn explain(&self, problem: Problem) -> Problem {
        self.0.get().cloned().unwrap_or(problem)
    }
}

/// The body as content, which must be as promised. Must be called in a tokio runtime.
pub(crate) fn content(meta: &PutMeta, promise: Promise, body: Drained) -> (Box<dyn Content>, Breakage) {
    let stream = body.map_err(io::Error::other);
    let reader = promise.keep(SyncIoBridge::new(StreamReader::new(stream)));
    let count = Count::new(meta.size);
    let breakage = Breakage::default();
    let noted = breakage.clone();
    let content: Box<dyn Content> = match meta.kind {
        ObjectKind::File => {
            let path = meta.name.clone().unwrap_or_else(|| UNNAMED.to_owned());
            let entry = ContentEntry { path, directory: false, executable: meta.executable, size: meta.size };
            Box::new(Noted { inner: Single { entry: Some(entry), count, reader }, breakage: noted })
        }
        ObjectKind::Directory => {
            Box::new(Noted { inner: Tree { archive: Archive::new(reader), count }, breakage: noted })
        }
    };
    (content, breakage)
}

/// One file: its bytes are the body's.
struct Single<R> {
    entry: Option<ContentEntry>,
    count: Count,
    reader: R,
}

impl<R: Read + Send> Content for Single<R> {
    fn next_entry(&mut self) -> io::Result<Option<ContentEntry>> {
        let entry = self.entry.take();
        if entry.is_none() {
            let mut buffer = [0; 8 * 1024];
            while self.read(&mut buffer)? > 0 {}
        }
        Ok(entry)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.count.add(read as u64)?;
        if read == 0 && !buffer.is_empty() {
            self.count.end()?;
        }
        Ok(read)
    }
}

/// A directory: the body is a tar archive, and the size that of its files.
struct Tree<R> {
    archive: Archive<R>,
    count: Count,
}

impl<R: Read + Send> Content for Tree<R> {
    fn next_entry(&mut self) -> io::Result<Option<ContentEntry>> {
        let entry = self.archive.next_entry()?;
        match &entry {
            Some(entry) => self.count.add(entry.size.unwrap_or_default())?,
            None => self.count.end()?,
        }
        Ok(entry)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.archive.read(buffer)
    }
}

/// Notes the first error on its way to the service.
struct Noted<C> {
    inner: C,
    breakage: Breakage,
}

impl<C: Content> Content for Noted<C> {
    fn next_entry(&mut self) -> io::Result<Option<ContentEntry>> {
        self.inner.next_entry().inspect_err(|error| self.breakage.note(error))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|error| self.breakage.note(error))
    }
}
