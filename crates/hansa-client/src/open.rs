//! An opened object: what the node says about it, and its content as it comes.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use hansa_api::{ObjectKind, Progress, Stage, header};
use hansa_types::{ObjectId, Version, is_misleading, name_problem};
use reqwest::Response;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::{
    ClientError, Destination,
    feed::{Pieces, feed},
    unpack,
    wire::broken,
};

/// An opened object. Its content is still to be read.
#[derive(Debug)]
pub struct Opened {
    id: ObjectId,
    version: Version,
    name: String,
    kind: ObjectKind,
    size: u64,
    files: u64,
    executable: bool,
    response: Response,
}

/// Content that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Where it is.
    pub path: PathBuf,
    /// Plaintext bytes.
    pub bytes: u64,
}

impl Opened {
    pub(crate) fn new(id: ObjectId, response: Response) -> Result<Self, ClientError> {
        let text = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.ok_or_else(|| ClientError::Protocol(format!("header {name} is missing")))
        };
        let number = |name: &str| -> Result<u64, ClientError> {
            text(name)?.parse().map_err(|_| ClientError::Protocol(format!("header {name} is no number")))
        };
        let name = percent_encoding::percent_decode_str(text(header::NAME)?).decode_utf8_lossy().into_owned();
        let kind = match text(header::KIND)? {
            "file" => ObjectKind::File,
            "directory" => ObjectKind::Directory,
            other => return Err(ClientError::Protocol(format!("{other:?} is no kind of object"))),
        };
        let version = u32::try_from(number(header::VERSION)?)
            .map_err(|_| ClientError::Protocol(format!("header {} is too large", header::VERSION)))?;
        let (size, files) = (number(header::SIZE)?, number(header::FILES)?);
        let executable = response.headers().get(header::EXECUTABLE).is_some_and(|value| value == "true");
        Ok(Self { id, version: Version(version), name, kind, size, files, executable, response })
    }

    /// The object.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// The version that comes.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The object's name. It comes from its owner: use it as a file name only through [`Opened::file_name`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A name that is safe to create in a folder and to print: the object's own, or its id where that would be a path, a
    /// hidden file, an option, or would not look like what it is.
    pub fn file_name(&self) -> String {
        let harmless = name_problem(&self.name).is_none()
            && !self.name.starts_with(['.', '-'])
            && !self.name.contains(|c: char| c == '\\' || is_misleading(c));
        if harmless { self.name.clone() } else { self.id.to_string().replace('/', "-") }
    }

    /// File or directory.
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// Plaintext bytes of all files.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Number of files.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// Writes the content to its destination: a file, or a folder. It appears there when it is complete.
    ///
    /// # Errors
    /// When it cannot be written, when the content breaks off; nothing of it is left then. [`ClientError::Kept`] when the
    /// destination was taken meanwhile.
    pub async fn save(
        self,
        destination: Destination,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<Saved, ClientError> {
        let (size, kind, executable, name) = (self.size, self.kind, self.executable, self.file_name());
        let pieces = counted(self.response.bytes_stream(), size, progress);
        let path = feed(pieces, move |pieces| match kind {
            ObjectKind::File => {
                fill(&destination, pieces, size)?;
                destination.publish_file(&name, executable)
            }
            ObjectKind::Directory => {
                let made = destination.scratch_folder()?;
                unpack::unpack(pieces, made.path(), size)?;
                destination.publish_folder(made, &name)
            }
        })
        .await?;
        Ok(Saved { path, bytes: size })
    }

    /// Writes the content to a stream; a directory as a tar archive. Answers the plaintext bytes.
    ///
    /// # Errors
    /// When the stream cannot be written, when the content breaks off.
    pub async fn write_to(
        self,
        out: &mut (impl AsyncWrite + Unpin + Send),
        progress: impl FnMut(Progress) + Send,
    ) -> Result<u64, ClientError> {
        let size = self.size;
        self.write(out, Path::new("output"), progress).await?;
        Ok(size)
    }

    async fn write(
        self,
        out: &mut (impl AsyncWrite + Unpin),
        name: &Path,
        progress: impl FnMut(Progress),
    ) -> Result<(), ClientError> {
        let (size, kind) = (self.size, self.kind);
        let mut written = 0_u64;
        let mut pieces = std::pin::pin!(counted(self.response.bytes_stream(), size, progress));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(ClientError::Broken)?;
            written = written.saturating_add(piece.len() as u64);
            out.write_all(&piece).await.map_err(ClientError::file(name))?;
        }
        out.flush().await.map_err(ClientError::file(name))?;
        if kind == ObjectKind::File && written != size {
            return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}

/// Writes one file's content; there must be `size` bytes of it.
fn fill(destination: &Destination, pieces: &mut Pieces, size: u64) -> Result<(), ClientError> {
    let (mut file, mut written) = (destination.file(), 0_u64);
    while let Some(piece) = pieces.next().map_err(ClientError::Broken)? {
        file.write_all(&piece).map_err(ClientError::file(destination.folder()))?;
        written = written.saturating_add(piece.len() as u64);
    }
    if written == size { Ok(()) } else { Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into())) }
}

/// The pieces, with a report after each.
fn counted(
    pieces: impl Stream<Item = reqwest::Result<Bytes>> + Send,
    size: u64,
    mut progress: impl FnMut(Progress),
) -> impl Stream<Item = io::Result<Bytes>> {
    let mut done = 0_u64;
    pieces
        .map_err(|error| match broken(error) {
            ClientError::Broken(error) => error,
            other => io::Error::other(other),
        })
        .inspect_ok(move |piece| {
            done = done.saturating_add(piece.len() as u64).min(size);
            progress(Progress::bytes(Stage::Transfer, done, Some(size)));
        })
}
