//! Putting content: a file, a folder or a stream.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use hansa_types::{
    ObjectId, Visibility,
    api::{ObjectKind, Progress, PutMeta, PutReceipt, header},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Body, Method, header::CONTENT_TYPE};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _},
};
use tokio_util::io::ReaderStream;

use crate::{Client, ClientError, pack};

/// Bytes read from a file at a time.
const PIECE: usize = 256 * 1024;

/// Where content comes from.
pub struct Source {
    name: String,
    kind: ObjectKind,
    size: Option<u64>,
    from: From,
}

enum From {
    File(PathBuf),
    Folder(pack::Plan),
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

/// What is said about content when it is put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// The object's name; the file's or folder's own where `None`.
    pub name: Option<String>,
    /// Who may open it; the node's default where `None`.
    pub visibility: Option<Visibility>,
    /// End of validity, Unix seconds.
    pub valid_until: Option<u64>,
    /// How many other members' replicas to wait for.
    pub replicas: Option<u32>,
}

impl Source {
    /// A file, or a folder with all that is below it.
    ///
    /// # Errors
    /// When it cannot be read, or a folder holds what is neither file nor folder.
    pub async fn path(path: &Path) -> Result<Self, ClientError> {
        let metadata = tokio::fs::metadata(path).await.map_err(ClientError::file(path))?;
        // `.` and `..` have no name of their own until they are resolved.
        let named = tokio::fs::canonicalize(path).await.map_err(ClientError::file(path))?;
        let name = match path.file_name().or(named.file_name()).map(|name| name.to_str()) {
            Some(Some(name)) => name.to_owned(),
            Some(None) => {
                return Err(ClientError::Unpackable {
                    path: path.into(),
                    problem: "has a name that is not UTF-8",
                });
            }
            None => "root".to_owned(),
        };
        if metadata.is_file() {
            return Ok(Self {
                name,
                kind: ObjectKind::File,
                size: Some(metadata.len()),
                from: From::File(path.into()),
            });
        }
        if !metadata.is_dir() {
            return Err(ClientError::Unpackable {
                path: path.into(),
                problem: "is neither a file nor a folder",
            });
        }
        let plan = pack::Plan::of(path.to_owned()).await?;
        Ok(Self { name, kind: ObjectKind::Directory, size: Some(plan.size()), from: From::Folder(plan) })
    }

    /// Standard input, to its end.
    pub fn stdin() -> Self {
        Self::reader("stdin", tokio::io::stdin())
    }

    /// Any stream of bytes, as one file of this name.
    pub fn reader(name: impl Into<String>, reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self { name: name.into(), kind: ObjectKind::File, size: None, from: From::Reader(Box::new(reader)) }
    }

    /// Plaintext bytes, where known beforehand.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    async fn pieces(self) -> Result<BoxStream<'static, io::Result<Bytes>>, ClientError> {
        Ok(match self.from {
            From::File(path) => {
                let file = File::open(&path).await.map_err(ClientError::file(path))?;
                // What is appended while the file is read belongs to another version.
                let limit = self.size.unwrap_or(u64::MAX);
                exactly(ReaderStream::with_capacity(file.take(limit), PIECE), limit).boxed()
            }
            From::Reader(reader) => ReaderStream::with_capacity(reader, PIECE).boxed(),
            From::Folder(plan) => plan.pieces(),
        })
    }
}

/// Fails at the end when fewer bytes came than were announced.
fn exactly(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    size: u64,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures::stream::unfold((pieces, size), |(mut pieces, left)| async move {
        match pieces.next().await {
            Some(Ok(piece)) => {
                let left = left.saturating_sub(piece.len() as u64);
                Some((Ok(piece), (pieces, left)))
            }
            Some(Err(error)) => Some((Err(error), (pieces, 0))),
            None if left > 0 => Some((Err(pack::shrunk()), (pieces, 0))),
            None => None,
        }
    })
}

impl Client {
    /// Protects content as a new object, and waits until it is final.
    ///
    /// # Errors
    /// The node's, or that it cannot be reached, or that the source cannot be read.
    pub async fn put(
        &self,
        source: Source,
        options: &PutOptions,
        progress: impl FnMut(Progress),
    ) -> Result<PutReceipt, ClientError> {
        self.upload(Method::POST, "objects", source, options, progress).await
    }

    /// Protects content as the next version of an object, and waits until it is final.
    ///
    /// # Errors
    /// See [`Client::put`].
    pub async fn update(
        &self,
        object: ObjectId,
        source: Source,
        options: &PutOptions,
        progress: impl FnMut(Progress),
    ) -> Result<PutReceipt, ClientError> {
        self.upload(Method::PUT, &format!("objects/{object}"), source, options, progress).await
    }

    async fn upload(
        &self,
        method: Method,
        path: &str,
        source: Source,
        options: &PutOptions,
        progress: impl FnMut(Progress),
    ) -> Result<PutReceipt, ClientError> {
        let meta = PutMeta {
            name: options.name.clone().unwrap_or_else(|| source.name.clone()),
            kind: source.kind,
            size: source.size,
            visibility: options.visibility,
            valid_until: options.valid_until,
            replicas: options.replicas,
        };
        let text = serde_json::to_string(&meta).map_err(|error| ClientError::Protocol(error.to_string()))?;
        let media = match source.kind {
            ObjectKind::File => "application/octet-stream",
            ObjectKind::Directory => "application/x-tar",
        };
        let (failure, pieces) = pack::remember_failure(source.pieces().await?);
        let request = self
            .wire
            .request(method, path)
            .header(header::META, utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string())
            .header(CONTENT_TYPE, media)
            .body(Body::wrap_stream(pieces));
        let outcome = self.wire.long(request, progress).await;
        // When the source failed, that is the cause, whatever the node made of the broken upload.
        match (outcome, failure.take()) {
            (Err(_), Some(error)) => Err(error),
            (outcome, _) => outcome,
        }
    }
}
