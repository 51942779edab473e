//! The header of the PROXY protocol, with which a proxy begins a connection.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use crate::proxies::ClientEnd;
use ppp::{v1, v2};
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Length of the shortest header of version 1, `PROXY UNKNOWN\r\n`. That of version 2 is longer.
const SHORTEST: usize = 15;
/// Maximum length of a header of version 1, and of the first part of one of version 2, which tells its length.
const V1_LEN_MAX: usize = 107;
const V2_FIXED_LEN: usize = 16;
/// Maximum length of a header of version 2 that is read. Only its addresses and whether there is TLS are used.
const V2_LEN_MAX: usize = 4096;
/// The bit of `PP2_TYPE_SSL` that says that the client connects over TLS.
const CLIENT_SSL: u8 = 1;

/// There is no valid header.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyHeaderError {
    #[error("the connection ended in it: {0}")]
    Read(#[from] io::Error),
    #[error("it is longer than {V2_LEN_MAX} bytes")]
    TooLong,
    #[error("{0}")]
    V1(#[from] v1::BinaryParseError),
    #[error("{0}")]
    V2(#[from] v2::ParseError),
}

/// Reads the header and nothing beyond it. Returns `None` for a connection of the proxy itself, such as a health check.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<ClientEnd>, ProxyHeaderError> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header.starts_with(v2::PROTOCOL_PREFIX) {
        read_more(stream, &mut header, V2_FIXED_LEN).await?;
        let len = V2_FIXED_LEN + usize::from(u16::from_be_bytes([header[14], header[15]]));
        if len > V2_LEN_MAX {
            return Err(ProxyHeaderError::TooLong);
        }
        read_more(stream, &mut header, len).await?;
        return Ok(version_2(&v2::Header::try_from(&header[..])?));
    }
    // Byte by byte, because only its end tells its length, and what follows belongs to the client.
    while header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) && !header.ends_with(b"\n") && header.len() < V1_LEN_MAX {
        let len = header.len() + 1;
        read_more(stream, &mut header, len).await?;
    }
    Ok(version_1(&v1::Header::try_from(&header[..])?))
}

async fn read_more(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>, len: usize) -> io::Result<()> {
    let begin = header.len();
    header.resize(len, 0);
    stream.read_exact(&mut header[begin..]).await.map(drop)
}

fn version_1(header: &v1::Header<'_>) -> Option<ClientEnd> {
    let address: IpAddr = match header.addresses {
        v1::Addresses::Tcp4(addresses) => addresses.source_address.into(),
        v1::Addresses::Tcp6(addresses) => addresses.source_address.into(),
        v1::Addresses::Unknown => return None,
    };
    Some(ClientEnd { address: address.to_canonical(), secure: false })
}

fn version_2(header: &v2::Header<'_>) -> Option<ClientEnd> {
    let address: IpAddr = match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(addresses)) => addresses.source_address.into(),
        (v2::Command::Proxy, v2::Addresses::IPv6(addresses)) => addresses.source_address.into(),
        _ => return None,
    };
    let is_tls = |tlv: v2::TypeLengthValue<'_>| {
        tlv.kind == v2::Type::SSL as u8 && tlv.value.first().is_some_and(|client| client & CLIENT_SSL != 0)
    };
    let secure = header.tlvs().map_while(Result::ok).any(is_tls);
    Some(ClientEnd { address: address.to_canonical(), secure })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads the header at the beginning of `sent`. Returns it with the rest.
    fn read_from(sent: &[u8]) -> Result<(Option<ClientEnd>, &[u8]), ProxyHeaderError> {
        let mut rest = sent;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let client = runtime.block_on(read(&mut rest))?;
        Ok((client, rest))
    }

    fn client(address: &str, secure: bool) -> Option<ClientEnd> {
        Some(ClientEnd { address: address.parse().unwrap(), secure })
    }

    fn of_version_2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &len, payload].concat()
    }

    #[test]
    fn version_1_is_read_and_nothing_beyond_it() {
        for (header, expected) in [
            ("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443\r\n", client("198.51.100.7", false)),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", client("2001:db8::7", false)),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
        ] {
            let sent = format!("{header}GET / HTTP/1.1\r\n");
            let (client, rest) = read_from(sent.as_bytes()).unwrap();
            assert_eq!((client, rest), (expected, &b"GET / HTTP/1.1\r\n"[..]), "{header}");
        }
    }

    #[test]
    fn version_2_is_read_and_nothing_beyond_it() {
        let v4 = [198, 51, 100, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 0xbb];
        let mapped = [&[0; 10][..], &[0xff, 0xff, 198, 51, 100, 7], &[0; 16], &[0; 4]].concat();
        let tls = |client: u8| [&v4[..], &[0x04, 0, 2, 0, 0], &[0x20, 0, 5, client, 0, 0, 0, 0]].concat();
        for (header, expected) in [
            (of_version_2(1, 0x11, &v4), client("198.51.100.7", false)),
            (of_version_2(1, 0x21, &mapped), client("198.51.100.7", false)),
            (of_version_2(1, 0x11, &tls(1)), client("198.51.100.7", true)),
            (of_version_2(1, 0x11, &tls(0)), client("198.51.100.7", false)),
            (of_version_2(0, 0x11, &v4), None),
            (of_version_2(0, 0, &[]), None),
            (of_version_2(1, 0x31, &[b'x'; 216]), None),
        ] {
            let sent = [&header[..], b"GET"].concat();
            assert_eq!(read_from(&sent).unwrap(), (expected, &b"GET"[..]), "{header:?}");
        }
    }

    #[test]
    fn other_beginnings_are_refused() {
        let too_long = [v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0xff, 0xff]].concat();
        assert!(matches!(read_from(&too_long), Err(ProxyHeaderError::TooLong)));
        for bad in [
            &b""[..],
            b"PROXY TCP4 198.51.100.7",
            b"GET /socket.io/?EIO=4 HTTP/1.1\r\n\r\n",
            b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 443\nGET / HTTP/1.1\r\n",
            b"PROXY TCP4 2001:db8::7 10.0.0.1 4711 443\r\n",
            b"PROXY TCP5 198.51.100.7 10.0.0.1 4711 443\r\n",
            &[b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat(),
            &of_version_2(1, 0x11, &[1, 2, 3]),
            &of_version_2(7, 0x11, &[0; 12]),
        ] {
            assert!(read_from(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            begin in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", v2::PROTOCOL_PREFIX]),
            rest in prop::collection::vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'1'), Just(b'\r'), Just(b'\n'), Just(0), Just(0x21)], 0..300),
        ) {
            let _ = read_from(&[begin, &rest].concat());
        }

        #[test]
        fn every_address_of_a_proxy_is_read(address: IpAddr, port: u16, version_1: bool) {
            let family = if address.is_ipv4() { "TCP4" } else { "TCP6" };
            let octets = match address { IpAddr::V4(it) => it.octets().to_vec(), IpAddr::V6(it) => it.octets().to_vec() };
            let header = match version_1 {
                true => format!("PROXY {family} {address} {address} {port} {port}\r\n").into_bytes(),
                false => of_version_2(1, if address.is_ipv4() { 0x11 } else { 0x21 }, &[&octets[..], &octets, &[0; 4]].concat()),
            };
            let (client, rest) = read_from(&header).unwrap();
            prop_assert_eq!(client.map(|client| client.address), Some(address.to_canonical()));
            prop_assert!(rest.is_empty());
        }
    }
}
