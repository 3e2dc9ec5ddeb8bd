//! The protocol `/hansa/key/1`: one request and one response of opaque bytes, each terminated by the end of the stream.

use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::{Behaviour, Codec, Config, ProtocolSupport};

use crate::Limits;

/// Maximum length of a request or response in bytes.
pub const MAX_KEY_MESSAGE_BYTES: usize = 64 * 1024;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/hansa/key/1");
/// Open requests of a connection, both directions together.
pub(crate) const STREAMS_PER_CONNECTION: usize = 32;

#[derive(Clone, Debug, Default)]
pub(crate) struct KeyCodec;

pub(crate) type KeyBehaviour = Behaviour<KeyCodec>;

pub(crate) fn behaviour(limits: &Limits) -> KeyBehaviour {
    let config = Config::default()
        .with_request_timeout(limits.key_timeout)
        .with_max_concurrent_streams(STREAMS_PER_CONNECTION);
    Behaviour::new([(PROTOCOL, ProtocolSupport::Full)], config)
}

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    let limit = (MAX_KEY_MESSAGE_BYTES as u64).saturating_add(1);
    io.take(limit).read_to_end(&mut bytes).await?;
    if bytes.len() > MAX_KEY_MESSAGE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a key message is too long"));
    }
    Ok(bytes.into())
}

impl Codec for KeyCodec {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Bytes) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Bytes) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&response).await
    }
}
