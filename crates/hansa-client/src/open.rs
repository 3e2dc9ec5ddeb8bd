//! An opened object: what the node says about it, and its content as it comes.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use hansa_types::{
    ObjectId, Version,
    api::{ObjectKind, Progress, Stage, header},
};
use reqwest::Response;
use tokio::{
    fs::{self, File},
    io::{AsyncWrite, AsyncWriteExt as _},
};

use crate::{ClientError, unpack, wire::broken};

/// An opened object. Its content is still to be read.
#[derive(Debug)]
pub struct Opened {
    id: ObjectId,
    version: Version,
    name: String,
    kind: ObjectKind,
    size: u64,
    files: u64,
    response: Response,
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
        let version = u32::try_from(number(header::VERSION)?).unwrap_or_default();
        let (size, files) = (number(header::SIZE)?, number(header::FILES)?);
        Ok(Self { id, version: Version(version), name, kind, size, files, response })
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

    /// A name that is safe to create in a folder: the object's own, or its id where that would be a path.
    pub fn file_name(&self) -> String {
        let unsafe_name =
            matches!(self.name.as_str(), "" | "." | "..") || self.name.contains(['/', '\\', '\0']);
        if unsafe_name { self.id.to_string().replace('/', "-") } else { self.name.clone() }
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

    /// Writes the content to `to`: a file, or a folder. It is written beside the destination and renamed when it is
    /// complete, so that the destination is complete or as it was. Answers the plaintext bytes.
    ///
    /// # Errors
    /// When the destination exists and `replace` is not set, when it cannot be written, when the content breaks off.
    pub async fn save(
        self,
        to: &Path,
        replace: bool,
        progress: impl FnMut(Progress) + Send,
    ) -> Result<u64, ClientError> {
        if !replace && fs::symlink_metadata(to).await.is_ok() {
            return Err(ClientError::Exists { path: to.into() });
        }
        let partial = Partial::beside(to)?;
        let size = self.size;
        match self.kind {
            ObjectKind::File => {
                let mut file =
                    File::create_new(&partial.path).await.map_err(ClientError::file(&partial.path))?;
                self.write(&mut file, &partial.path, progress).await?;
            }
            ObjectKind::Directory => {
                fs::create_dir(&partial.path).await.map_err(ClientError::file(&partial.path))?;
                let pieces = counted(self.response.bytes_stream(), size, progress);
                unpack::unpack(pieces, &partial.path, size).await?;
            }
        }
        partial.publish(to, replace).await?;
        Ok(size)
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

/// A file or folder in the making; removed unless it is published.
struct Partial {
    path: PathBuf,
    published: bool,
}

impl Partial {
    fn beside(to: &Path) -> Result<Self, ClientError> {
        let refused = || ClientError::File { path: to.into(), source: io::ErrorKind::InvalidFilename.into() };
        let name = to.file_name().ok_or_else(refused)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{:08x}.partial", rand::random::<u32>()));
        Ok(Self { path: to.with_file_name(hidden), published: false })
    }

    async fn publish(mut self, to: &Path, replace: bool) -> Result<(), ClientError> {
        if replace {
            match fs::symlink_metadata(to).await {
                // A rename does not replace a folder that holds something, nor a folder by a file.
                Ok(old) if old.is_dir() => fs::remove_dir_all(to).await.map_err(ClientError::file(to))?,
                Ok(_) if self.path.is_dir() => fs::remove_file(to).await.map_err(ClientError::file(to))?,
                _ => {}
            }
        } else if fs::symlink_metadata(to).await.is_ok() {
            return Err(ClientError::Exists { path: to.into() });
        }
        fs::rename(&self.path, to).await.map_err(ClientError::file(to))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed stays behind under its telling name.
            let _ = std::fs::remove_file(&self.path).or_else(|_| std::fs::remove_dir_all(&self.path));
        }
    }
}
