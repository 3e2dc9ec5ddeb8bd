//! Content on its way out: one file as it is, a directory as a tar archive.
//!
//! The length is stated wherever it is known, and the connection is cut when content fails in the middle, so that a
//! caller never takes a part for the whole.

use std::{collections::VecDeque, io};

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, header::CONTENT_DISPOSITION, header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use hansa_api::{Code, ContentEntry, Download, ObjectKind, ObjectSummary, Problem, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::OwnedSemaphorePermit;

use super::tar::{END, header_of, padding};
type Piece = Result<Bytes, Problem>;

/// The answer to an opening.
pub(crate) fn respond(download: Download, place: OwnedSemaphorePermit) -> Response {
    let files = download.entries.iter().filter(|entry| !entry.directory);
    let (count, size) = files.fold((0_u64, 0_u64), |(count, size), entry| {
        (count.saturating_add(1), size.saturating_add(entry.size.unwrap_or_default()))
    });
    let (kind, media, length) = match download.kind {
        ObjectKind::File => ("file", "application/octet-stream", size),
        ObjectKind::Directory => ("directory", "application/x-tar", archive_length(&download.entries)),
    };
    let runs = download.entries.iter().any(|entry| entry.executable) && download.kind == ObjectKind::File;
    let mut headers = HeaderMap::new();
    let mut set = |key: HeaderName, value: String| insert(&mut headers, key, &value);
    set(CONTENT_TYPE, media.to_owned());
    set(CONTENT_LENGTH, length.to_string());
    set(HeaderName::from_static(header::VERSION), download.version.to_string());
    set(HeaderName::from_static(header::NAME), encoded(&download.name));
    let suffix = if download.kind == ObjectKind::Directory { ".tar" } else { "" };
    set(CONTENT_DISPOSITION, disposition(&format!("{}{suffix}", download.name)));
    set(HeaderName::from_static(header::KIND), kind.to_owned());
    set(HeaderName::from_static(header::SIZE), size.to_string());
    set(HeaderName::from_static(header::FILES), count.to_string());
    if runs {
        set(HeaderName::from_static(header::EXECUTABLE), "true".to_owned());
    }
    let pieces = match download.kind {
        ObjectKind::File => exactly(download.content, size),
        ObjectKind::Directory => archive(download.entries, download.content),
    };
    let body = pieces.map(move |piece| {
        let _ = &place;
        piece.map_err(|problem| {
            tracing::warn!(%problem, "a download broke off");
            io::Error::other(problem)
        })
    });
    (headers, Body::from_stream(body)).into_response()
}

/// The answer to a question about an object: what its openings' headers say, as far as it is known without one.
pub(crate) fn describe(summary: &ObjectSummary) -> Response {
    let mut headers = HeaderMap::new();
    let mut set =
        |key: &'static str, value: String| insert(&mut headers, HeaderName::from_static(key), &value);
    set(header::VERSION, summary.version.to_string());
    if let Some(name) = &summary.name {
        set(header::NAME, encoded(name));
    }
    if let Some(size) = summary.size {
        set(header::SIZE, size.to_string());
    }
    let kind = summary.kind.map(|kind| match kind {
        ObjectKind::File => ("file", "application/octet-stream"),
        ObjectKind::Directory => ("directory", "application/x-tar"),
    });
    if let Some((kind, media)) = kind {
        set(header::KIND, kind.to_owned());
        set("content-type", media.to_owned());
    }
    headers.into_response()
}

fn insert(headers: &mut HeaderMap, key: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(key, value);
    }
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// The name for browsers and `curl -OJ` (RFC 6266): whole in `filename*` (RFC 8187), and in ASCII for those that do not
/// read that.
fn disposition(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '/' | '%');
    let plain: String = name.chars().map(|c| if is_plain(c) || c == ' ' { c } else { '_' }).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", encoded(name))
}

fn archive_length(entries: &[ContentEntry]) -> u64 {
    let one = |entry: &ContentEntry| {
        let size = entry.size.unwrap_or_default();
        (header_of(entry).len() as u64).saturating_add(size).saturating_add(padding(size))
    };
    entries.iter().map(one).fold(END.len() as u64, u64::saturating_add)
}

/// The stream, which must hold exactly this many bytes.
fn exactly(content: BoxStream<'static, Piece>, size: u64) -> BoxStream<'static, Piece> {
    let source = Source { content, waiting: Bytes::new() };
    stream::unfold((source, size), |(mut source, left)| async move {
        let piece = source.take(left).await?;
        let taken = piece.as_ref().map_or(left, |piece| piece.len() as u64);
        Some((piece, (source, left.saturating_sub(taken))))
    })
    .boxed()
}

/// Pieces of the files, cut at the files' ends.
struct Source {
    content: BoxStream<'static, Piece>,
    waiting: Bytes,
}

impl Source {
    /// At most `left` bytes; `None` when none are left to take.
    async fn take(&mut self, left: u64) -> Option<Piece> {
        if left == 0 {
            return None;
        }
        while self.waiting.is_empty() {
            match self.content.next().await {
                Some(Ok(piece)) => self.waiting = piece,
                Some(Err(problem)) => return Some(Err(problem)),
                None => {
                    let short = format!("the content is {left} bytes shorter than its manifest says");
                    return Some(Err(Problem::new(Code::ContentDamaged, short)));
                }
            }
        }
        let length = self.waiting.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        Some(Ok(self.waiting.split_to(length)))
    }
}

/// What an archive in the making does next.
enum Step {
    /// Begin the next entry, or end.
    Next,
    /// Send so many more bytes of the file, then its padding.
    File { left: u64, padding: u64 },
    /// Nothing more.
    Done,
}

fn archive(entries: Vec<ContentEntry>, content: BoxStream<'static, Piece>) -> BoxStream<'static, Piece> {
    let state = (VecDeque::from(entries), Source { content, waiting: Bytes::new() }, Step::Next);
    stream::unfold(state, |(mut entries, mut source, step)| async move {
        let (piece, step) = match step {
            Step::Done => return None,
            Step::Next => match entries.pop_front() {
                None => (Ok(Bytes::from_static(&END)), Step::Done),
                Some(entry) => {
                    let size = if entry.directory { 0 } else { entry.size.unwrap_or_default() };
                    (Ok(header_of(&entry).into()), Step::File { left: size, padding: padding(size) })
                }
            },
            Step::File { left, padding } => match source.take(left).await {
                None => (Ok(zeros(padding)), Step::Next),
                Some(Ok(piece)) => {
                    let left = left.saturating_sub(piece.len() as u64);
                    (Ok(piece), Step::File { left, padding })
                }
                Some(Err(problem)) => (Err(problem), Step::Done),
            },
        };
        Some((piece, (entries, source, step)))
    })
    .boxed()
}

fn zeros(count: u64) -> Bytes {
    Bytes::from_static(END.get(..usize::try_from(count).unwrap_or_default()).unwrap_or_default())
}
