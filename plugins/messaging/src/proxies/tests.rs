use super::*;
use axum::http::{HeaderName, HeaderValue};
use proptest::prelude::*;

const NEAREST: ClientEnd = ClientEnd { address: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), secure: false };

fn proxies(header: ForwardedHeader) -> Proxies {
    Proxies::new(&["10.0.0.0/8".into(), "fd00::/8".into(), "192.0.2.1".into()], header)
}

fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())).collect()
}

fn client(header: ForwardedHeader, lines: &[(&'static str, &[u8])]) -> (String, bool) {
    let ClientEnd { address, secure } = proxies(header).client(NEAREST, &headers(lines));
    (address.to_string(), secure)
}

fn x_forwarded_for(lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", line.as_bytes())).collect();
    client(ForwardedHeader::XForwardedFor, &lines).0
}

fn forwarded(line: &str) -> (String, bool) {
    client(ForwardedHeader::Forwarded, &[("forwarded", line.as_bytes())])
}

#[test]
fn the_last_address_that_is_no_proxys_is_the_clients() {
    for (lines, expected) in [
        (&["198.51.100.7"][..], "198.51.100.7"),
        (&["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        (&["203.0.113.9, 198.51.100.7, 10.9.9.9 ,192.0.2.1"], "198.51.100.7"),
        (&["203.0.113.9", "198.51.100.7", "10.9.9.9"], "198.51.100.7"),
        (&["198.51.100.7:4711, fd00::1"], "198.51.100.7"),
        (&["[2001:db8::7]:4711"], "2001:db8::7"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["::ffff:198.51.100.7, ::ffff:10.9.9.9"], "198.51.100.7"),
        // All are proxies: the first of them is the client.
        (&["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        // A proxy that hides its client counts as the client.
        (&["198.51.100.7, unknown, 10.2.2.2"], "10.2.2.2"),
        (&["198.51.100.7, "], "10.0.0.1"),
        (&["198.51.100.7 198.51.100.8"], "10.0.0.1"),
        (&[], "10.0.0.1"),
    ] {
        assert_eq!(x_forwarded_for(lines), expected, "{lines:?}");
    }
}

#[test]
fn forwarded_is_read_as_in_rfc_7239() {
    for (line, expected, secure) in [
        ("for=198.51.100.7;proto=https", "198.51.100.7", true),
        ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17", false),
        ("proto=HTTP;For = 198.51.100.7; by=203.0.113.43", "198.51.100.7", false),
        ("for=203.0.113.9, for=198.51.100.7;proto=https, for=10.2.2.2;proto=http", "198.51.100.7", true),
        ("for=198.51.100.7;host=\"a,b;for=203.0.113.9\"", "198.51.100.7", false),
        ("for=198.51.100.7;host=\"a\\\",for=203.0.113.9\"", "198.51.100.7", false),
        ("for=198.51.100.7, for=_hidden;proto=https", "10.0.0.1", true),
        ("for=198.51.100.7, for=unknown", "10.0.0.1", false),
        ("for=198.51.100.7, proto=https", "10.0.0.1", true),
        ("", "10.0.0.1", false),
    ] {
        assert_eq!(forwarded(line), (expected.to_owned(), secure), "{line}");
    }
}

#[test]
fn the_protocol_is_that_of_the_hop_or_the_only_one() {
    let secure = |addresses: &str, protocols: &str| {
        let lines: [(&str, &[u8]); 2] =
            [("x-forwarded-for", addresses.as_bytes()), ("x-forwarded-proto", protocols.as_bytes())];
        client(ForwardedHeader::XForwardedFor, &lines).1
    };
    assert!(secure("198.51.100.7", "https") && secure("198.51.100.7", "WSS") && !secure("198.51.100.7", "http"));
    assert!(secure("198.51.100.7, 10.2.2.2", "https"));
    assert!(secure("198.51.100.7, 10.2.2.2", "https, http") && !secure("198.51.100.7, 10.2.2.2", "http, https"));
    assert!(!secure("198.51.100.7", "https, http"));
    assert!(client(ForwardedHeader::XForwardedFor, &[("x-forwarded-proto", b"https")]).1);
}

#[test]
fn only_the_configured_header_is_believed() {
    let both: [(&str, &[u8]); 2] = [("x-forwarded-for", b"198.51.100.7"), ("forwarded", b"for=198.51.100.8")];
    assert_eq!(client(ForwardedHeader::XForwardedFor, &both).0, "198.51.100.7");
    assert_eq!(client(ForwardedHeader::Forwarded, &both).0, "198.51.100.8");
}

#[test]
fn a_network_is_a_prefix_or_an_address() {
    for good in ["10.0.0.0/8", "10.1.2.3/8", "::/0", "fd00::/8", "127.0.0.1", "::1"] {
        assert!(network(good).is_some(), "{good}");
    }
    for bad in ["", "10.0.0.0/33", "example.com", "10.0.0", "10.0.0.1:80", "10.0.0.0/", "*"] {
        assert!(network(bad).is_none(), "{bad}");
    }
    assert!(!proxies(ForwardedHeader::Forwarded).trust("192.0.2.2".parse().unwrap()));
}

/// Whatever a client may put before the proxy's value. A header's value has no control characters.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop::sample::select(b"\",;=\\ []:.for1proto\xff".to_vec());
    prop::collection::vec(prop_oneof![4 => likely, 1 => 0x20..=0x7e_u8, 1 => 0x80..=0xff_u8], 0..60)
}

proptest! {
    #[test]
    fn nothing_a_client_sends_changes_what_the_proxy_appends(sent in hostile(), same_line: bool) {
        for (name, header, own) in [
            ("x-forwarded-for", ForwardedHeader::XForwardedFor, &b"198.51.100.7"[..]),
            ("forwarded", ForwardedHeader::Forwarded, b"for=\"198.51.100.7:80\";host=\"a\\\",b\";proto=https"),
        ] {
            let joined = [&sent[..], b", ", own].concat();
            let lines = if same_line { vec![(name, &joined[..])] } else { vec![(name, &sent[..]), (name, own)] };
            prop_assert_eq!(client(header, &lines).0, "198.51.100.7");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(sent in hostile()) {
        for name in ["x-forwarded-for", "forwarded"] {
            client(ForwardedHeader::XForwardedFor, &[(name, &sent)]);
            client(ForwardedHeader::Forwarded, &[(name, &sent)]);
        }
    }
}
