//! Hears of failed writes to the node's stores, so that the node stops (invariant 12). Watches the ledger and the objects; the
//! journals of consensus end with consensus itself.

use std::{error::Error, io, path::PathBuf};

use hansa_kv::Alarm;
use tokio::sync::mpsc;

use crate::{NodeError, error::is_storage_full};

/// The first failed write.
pub(crate) struct Failures {
    data: PathBuf,
    /// Room for one: those after the first are its consequences.
    told: mpsc::Sender<io::Error>,
    heard: mpsc::Receiver<io::Error>,
}

impl Failures {
    /// None yet, of stores in the folder `data`.
    pub(crate) fn new(data: PathBuf) -> Self {
        let (told, heard) = mpsc::channel(1);
        Self { data, told, heard }
    }

    /// The alarm that the stores raise.
    pub(crate) fn alarm(&self) -> Alarm {
        let told = self.told.clone();
        Alarm::new(move |error| drop(told.try_send(described(error))))
    }

    /// Waits for a write to fail.
    pub(crate) async fn first(&mut self) -> NodeError {
        match self.heard.recv().await {
            Some(source) => NodeError::WriteFailed { path: self.data.clone(), source },
            // Not while `told` is here.
            None => NodeError::Interrupted,
        }
    }

    /// The write that has failed, if one has.
    pub(crate) fn earlier(&mut self) -> Option<NodeError> {
        let source = self.heard.try_recv().ok()?;
        Some(NodeError::WriteFailed { path: self.data.clone(), source })
    }
}

/// An error with all its causes. It stays known whether the disk was full.
fn described(error: &(dyn Error + 'static)) -> io::Error {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    let kind = if is_storage_full(error) { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
    io::Error::new(kind, words)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn the_first_failed_write_is_told_with_its_cause() {
        let mut failures = Failures::new("/srv/hansa/data".into());
        assert!(failures.earlier().is_none());
        let [objects, ledger] = [failures.alarm(), failures.alarm()];
        let write = |kind: io::ErrorKind| NodeError::Write {
            path: "/srv/hansa/data/blocks/1".into(),
            source: kind.into(),
        };
        objects.raise(&write(io::ErrorKind::StorageFull));
        ledger.raise(&write(io::ErrorKind::Other));
        let failure = failures.first().await;
        let cause = failure.source().map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("/srv/hansa/data/blocks/1 cannot be written: "), "{cause}");
        let explained = failure.explained(Path::new("/srv/hansa/data"), Some(8 << 20));
        assert!(matches!(explained, NodeError::DiskFull { .. }), "{explained}");
        assert!(failures.earlier().is_none());
        ledger.raise(&write(io::ErrorKind::Other));
        let failure = failures.earlier().map(|failure| failure.explained(Path::new("/"), Some(1 << 40)));
        assert!(matches!(failure, Some(NodeError::WriteFailed { .. })));
    }
}
