//! The site that a page belongs to.

/// The base domain of an Origin header: the registrable domain according to the public suffix list, or else the host
/// itself (an address, `localhost`, a name without a dot). `None` if the header names no host.
pub(crate) fn base_domain(origin: &str) -> Option<String> {
    let (_, rest) = origin.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.rsplit_once('@').map_or(authority, |(_, host)| host) {
        v6 if v6.starts_with('[') => return v6.split_once(']').map(|(address, _)| address[1..].to_ascii_lowercase()),
        name => name.split(':').next()?,
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() || host.parse::<std::net::Ipv4Addr>().is_ok() {
        return (!host.is_empty()).then_some(host);
    }
    Some(psl::domain_str(&host).unwrap_or(&host).to_owned())
}

#[cfg(test)]
mod tests {
    use super::base_domain;

    #[test]
    fn base_domains_follow_the_public_suffix_list() {
        let table = [
            ("https://www.example.com", Some("example.com")),
            ("https://a.b.example.co.uk:8443", Some("example.co.uk")),
            ("http://Shop.Example.COM.", Some("example.com")),
            ("https://user.github.io", Some("user.github.io")),
            ("http://localhost:3000", Some("localhost")),
            ("http://127.0.0.1:3000", Some("127.0.0.1")),
            ("http://[::1]:3000", Some("::1")),
            ("https://xn--bcher-kva.example.de", Some("example.de")),
            ("null", None),
            ("https://", None),
            ("", None),
        ];
        for (origin, site) in table {
            assert_eq!(base_domain(origin).as_deref(), site, "{origin}");
        }
    }
}
