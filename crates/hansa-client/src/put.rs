//! Putting content: a file, a folder, a pipe or a stream.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use hansa_api::{ObjectKind, Progress, PutMeta, PutReceipt, Stage, header};
use hansa_types::{ObjectId, Visibility};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Body, Method, header::CONTENT_TYPE};
use tokio::{io::AsyncRead, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::ReaderStream;

use crate::{Client, ClientError, LeftOut, Special, pack};

/// Bytes read from a file at a time.
const PIECE: usize = 256 * 1024;
/// Pieces of a pipe that may wait to be sent.
const WAITING: usize = 4;
/// The mode bit that makes a file executable by its owner.
const RUN: u32 = 0o100;

/// Where content comes from.
pub struct Source {
    /// Where it was found, for errors.
    path: PathBuf,
    /// `None` where a path has no name that is text.
    name: Option<String>,
    kind: ObjectKind,
    executable: bool,
    /// As stated; content may turn out longer or shorter.
    size: Option<u64>,
    from: From,
}

enum From {
    File(PathBuf),
    Folder(pack::Plan),
    Pipe(PathBuf),
    Stdin,
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

/// What is said about content when it is put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// The object's name. Where `None`: a new object is called as its file or folder, an updated one as before.
    pub name: Option<String>,
    /// Who may open it; the node's default where `None`.
    pub visibility: Option<Visibility>,
    /// End of validity, Unix seconds.
    pub valid_until: Option<u64>,
    /// How many other members' replicas to wait for.
    pub replicas: Option<u32>,
}

impl Source {
    /// A file, a pipe, or a folder with all that is below it.
    ///
    /// # Errors
    /// When it cannot be read or is something else, or when a folder holds what cannot be stored and `special` refuses
    /// that.
    pub async fn path(path: &Path, special: Special) -> Result<Self, ClientError> {
        let metadata = tokio::fs::metadata(path).await.map_err(ClientError::file(path))?;
        let (name, kind) = (name_of(path), metadata.file_type());
        let source = |kind, size, from| Self {
            path: path.into(),
            name: name.clone(),
            kind,
            executable: metadata.is_file() && metadata.permissions().mode() & RUN != 0,
            size,
            from,
        };
        if kind.is_file() {
            // Files that are made as they are read state 0 bytes.
            let stated = Some(metadata.len()).filter(|size| *size > 0);
            return Ok(source(ObjectKind::File, stated, From::File(path.into())));
        }
        if kind.is_fifo() {
            return Ok(source(ObjectKind::File, None, From::Pipe(path.into())));
        }
        if !kind.is_dir() {
            return Err(ClientError::Unreadable { path: path.into() });
        }
        let plan = pack::Plan::of(path.to_owned(), special).await?;
        Ok(source(ObjectKind::Directory, Some(plan.size()), From::Folder(plan)))
    }

    /// Standard input, to its end, as one file called `stdin`.
    pub fn stdin() -> Self {
        Self::stream("stdin".to_owned(), From::Stdin)
    }

    /// Any stream of bytes, as one file of this name.
    pub fn reader(name: impl Into<String>, reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self::stream(name.into(), From::Reader(Box::new(reader)))
    }

    fn stream(name: String, from: From) -> Self {
        let path = PathBuf::from(&name);
        Self { path, name: Some(name), kind: ObjectKind::File, executable: false, size: None, from }
    }

    /// The entries below a folder that are not sent.
    pub fn left_out(&self) -> Option<&LeftOut> {
        match &self.from {
            From::Folder(plan) => Some(plan.left_out()).filter(|left_out| !left_out.is_empty()),
            _ => None,
        }
    }

    fn pieces(self) -> Result<BoxStream<'static, io::Result<Bytes>>, ClientError> {
        Ok(match self.from {
            From::File(path) => {
                let file = File::open(&path).map_err(ClientError::file(path))?;
                whole(file).map_err(ClientError::Source)?
            }
            From::Pipe(path) => blocking(move || File::open(path)),
            From::Stdin => blocking(|| Ok(io::stdin().lock())),
            From::Reader(reader) => ReaderStream::with_capacity(reader, PIECE).boxed(),
            From::Folder(plan) => plan.pieces(),
        })
    }
}

/// The name that a path gives to an object: its last part; for `.` and `..` what they stand for; `pipe` for the number of
/// an open file, as in `<(command)`.
fn name_of(path: &Path) -> Option<String> {
    let open_file =
        ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path.parent() == Some(Path::new(folder)));
    if open_file {
        return Some("pipe".to_owned());
    }
    match path.file_name() {
        Some(name) => name.to_str().map(str::to_owned),
        None => {
            let resolved = fs::canonicalize(path).ok()?;
            resolved.file_name().map_or(Some("root"), OsStr::to_str).map(str::to_owned)
        }
    }
}

/// A file to its end, wherever that turns out to be: what is appended meanwhile is part of it. Fails at the end when the
/// file became shorter since it was opened; a file that only states more than it holds did not.
fn whole(file: File) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    let stated = file.metadata()?.len();
    let seen = file.try_clone()?;
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE);
    let state = (pieces, seen, 0_u64, false);
    Ok(futures::stream::unfold(state, move |(mut pieces, seen, read, ended)| async move {
        if ended {
            return None;
        }
        match pieces.next().await {
            Some(Ok(piece)) => {
                let read = read.saturating_add(piece.len() as u64);
                Some((Ok(piece), (pieces, seen, read, false)))
            }
            Some(Err(error)) => Some((Err(error), (pieces, seen, read, true))),
            None => match seen.metadata() {
                Ok(metadata) if read >= stated || metadata.len() == stated => None,
                Ok(_) => Some((Err(pack::shrunk()), (pieces, seen, read, true))),
                Err(error) => Some((Err(error), (pieces, seen, read, true))),
            },
        }
    })
    .boxed())
}

/// A pipe, opened and read on a thread of its own: nobody who gives up waits until the other side writes or closes it.
fn blocking<R: Read>(
    open: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> BoxStream<'static, io::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(WAITING);
    let read = move || -> io::Result<()> {
        let mut from = open()?;
        let mut buffer = vec![0; PIECE];
        loop {
            let count = match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { return Ok(()) };
            if sender.blocking_send(Ok(Bytes::copy_from_slice(piece))).is_err() {
                return Ok(());
            }
        }
    };
    let (failed, failure) = mpsc::channel(1);
    std::thread::spawn(move || {
        if let Err(error) = read() {
            let _ = failed.blocking_send(Err(error));
        }
    });
    ReceiverStream::new(pieces).chain(ReceiverStream::new(failure)).boxed()
}

/// The first error of a stream, kept for whoever sent it.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    /// The error as the client's own.
    fn take(&self) -> Option<ClientError> {
        self.0.lock().ok()?.take().map(ClientError::Source)
    }
}

/// Passes pieces on, and keeps the error that ends them.
fn remember_failure(
    pieces: BoxStream<'static, io::Result<Bytes>>,
) -> (Failure, impl Stream<Item = io::Result<Bytes>> + Send + 'static) {
    let failure = Failure::default();
    let kept = failure.clone();
    let pieces = pieces.map(move |piece| {
        piece.map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            if let Ok(mut slot) = kept.0.lock() {
                slot.get_or_insert(error);
            }
            told
        })
    });
    (failure, pieces)
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
        let name = match options.name.clone().or_else(|| source.name.clone()) {
            Some(name) => name,
            None => return Err(ClientError::Unnamed { path: source.path }),
        };
        self.upload(Method::POST, "objects", Some(name), source, options, progress).await
    }

    /// Protects content as the next version of an object, which keeps its name unless `options` name one, and waits until it is final.
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
        let (path, name) = (format!("objects/{object}"), options.name.clone());
        self.upload(Method::PUT, &path, name, source, options, progress).await
    }

    async fn upload(
        &self,
        method: Method,
        path: &str,
        name: Option<String>,
        source: Source,
        options: &PutOptions,
        mut progress: impl FnMut(Progress),
    ) -> Result<PutReceipt, ClientError> {
        let stated = source.size;
        let meta = PutMeta {
            name,
            kind: source.kind,
            executable: source.executable,
            // The node takes a size for a promise. What files state is a guess, good enough for the progress.
            size: None,
            visibility: options.visibility,
            valid_until: options.valid_until,
            replicas: options.replicas,
        };
        let text = serde_json::to_string(&meta).map_err(|error| ClientError::Protocol(error.to_string()))?;
        let media = match source.kind {
            ObjectKind::File => "application/octet-stream",
            ObjectKind::Directory => "application/x-tar",
        };
        let (failure, pieces) = remember_failure(source.pieces()?);
        let request = self
            .wire
            .request(method, path)
            .header(header::META, utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string())
            .header(CONTENT_TYPE, media)
            .body(Body::wrap_stream(pieces));
        let told = |report: Progress| match report.total {
            None if report.stage == Stage::Encrypt => progress(Progress { total: stated, ..report }),
            _ => progress(report),
        };
        let outcome = self.wire.long(request, told).await;
        // When the source failed, that is the cause, whatever the node made of the broken upload.
        match (outcome, failure.take()) {
            (Err(_), Some(error)) => Err(error),
            (outcome, _) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(source: Source) -> io::Result<Vec<u8>> {
        let mut pieces = source.pieces().unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    /// Files below /proc state 0 bytes, files below /sys a page; an open pipe is a path below /dev/fd.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn whatever_can_be_read_is_read_to_its_end() {
        use std::{io::Write as _, os::fd::AsRawFd as _};
        for path in ["/proc/version", "/sys/kernel/uevent_seqnum"] {
            let path = Path::new(path);
            if let Ok(expected) = fs::read(path) {
                let source = Source::path(path, Special::Refuse).await.unwrap();
                assert_eq!(read(source).await.unwrap(), expected, "{}", path.display());
            }
        }
        let (output, mut input) = io::pipe().unwrap();
        input.write_all(b"through a pipe").unwrap();
        drop(input);
        let path = format!("/dev/fd/{}", output.as_raw_fd());
        let source = Source::path(Path::new(&path), Special::Refuse).await.unwrap();
        assert_eq!((source.name.as_deref(), source.size), (Some("pipe"), None));
        assert_eq!(read(source).await.unwrap(), b"through a pipe");
        assert!(matches!(
            Source::path(Path::new("/dev/zero"), Special::Refuse).await,
            Err(ClientError::Unreadable { .. })
        ));
    }

    #[tokio::test]
    async fn a_file_that_grows_is_read_whole_and_one_that_shrinks_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (length, whole) in [(3_000_000_u64, true), (2_000_000, true), (1_000_000, false)] {
            fs::write(&path, vec![7; 2_000_000]).unwrap();
            let mut pieces = Source::path(&path, Special::Refuse).await.unwrap().pieces().unwrap();
            let mut read = pieces.next().await.unwrap().unwrap().len() as u64;
            File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            let mut outcome = Ok(());
            while let Some(piece) = pieces.next().await {
                match piece {
                    Ok(piece) => read += piece.len() as u64,
                    Err(error) => outcome = Err(error),
                }
            }
            assert_eq!((outcome.is_ok(), read), (whole, length));
        }
    }

    #[test]
    fn names_of_paths() {
        for (path, name) in [("a/b.txt", Some("b.txt")), ("/", Some("root")), ("/dev/fd/63", Some("pipe"))] {
            assert_eq!(name_of(Path::new(path)).as_deref(), name, "{path}");
        }
        assert!(name_of(Path::new(".")).is_some_and(|name| name != "."));
    }
}
