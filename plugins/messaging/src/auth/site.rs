//! The sites that clients come from, each named by its base domain.

use super::origin;

/// Longest name of a host, in bytes.
const HOST_LEN_MAX: usize = 253;

/// Why a text is not the name of a site, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotASite {
    /// It is the URL or origin of a page of this site.
    #[error("it is not only a host: expected something like \"{0}\"")]
    Url(String),
    /// It is neither a domain nor an IP address.
    #[error("it is neither a domain nor an IP address: expected something like \"example.com\"")]
    NoHost,
    /// It is a wildcard where none is allowed, or one that no site matches.
    #[error("{0}")]
    Wildcard(String),
}

/// The sites that have a room. If none are listed, all have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sites(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    One(String),
    /// All sites whose names end with this text, which begins with a dot.
    Below(String),
}

impl Sites {
    /// Expects entries that [`Sites::check`] accepts, and skips others.
    pub(crate) fn new(configured: &[String]) -> Self {
        Self(configured.iter().filter_map(|text| Pattern::parse(text).ok()).collect())
    }

    /// Checks an entry of the list.
    ///
    /// # Errors
    /// If it is neither a site nor a wildcard.
    pub(crate) fn check(text: &str) -> Result<(), NotASite> {
        Pattern::parse(text).map(drop)
    }

    /// Whether a site has a room.
    pub(crate) fn have(&self, site: &str) -> bool {
        let matches = |pattern: &Pattern| match pattern {
            Pattern::One(name) => name == site,
            Pattern::Below(suffix) => site.len() > suffix.len() && site.ends_with(suffix.as_str()),
        };
        self.0.is_empty() || self.0.iter().any(matches)
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, NotASite> {
        let Some(suffix) = text.strip_prefix("*.") else {
            return match text.contains('*') {
                true => Err(NotASite::Wildcard("only \"*.\" at the beginning is a wildcard, for example \"*.github.io\"; an empty list allows all sites".into())),
                false => normal(text).map(Self::One),
            };
        };
        let suffix = normal(suffix)?;
        // Pages of all subdomains belong to one site.
        match psl::domain_str(&suffix) {
            Some(domain) => Err(NotASite::Wildcard(format!(
                "the pages of all subdomains belong to the site \"{domain}\": expected that, or \"*.\" and a public suffix"
            ))),
            None => Ok(Self::Below(format!(".{suffix}"))),
        }
    }
}

/// The site of a page with this Origin header: its base domain, which is the registrable domain according to the public
/// suffix list, or else the host itself (an address, `localhost`, a name without a dot). `None` if the header is none
/// that a browser sends, or names no host.
pub(crate) fn of_origin(header: &str) -> Option<String> {
    let host = normal(&origin::host(header)?).ok()?;
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    Some(if is_address { host } else { psl::domain_str(&host).map_or(host.clone(), str::to_owned) })
}

/// The normal form of a site's name: lower case, international names in ASCII as browsers send them, addresses in their
/// shortest form, without a trailing dot.
///
/// # Errors
/// If the text is not the name of a host.
pub fn normal(text: &str) -> Result<String, NotASite> {
    if let Some(site) = of_url(text) {
        return Err(NotASite::Url(site));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse::<std::net::Ipv6Addr>() {
        return Ok(address.to_string());
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let host = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::URL).map_err(|_| NotASite::NoHost)?;
    let fits = host.len() <= HOST_LEN_MAX && host.split('.').all(|label| !label.is_empty() && !label.contains('*'));
    if fits { Ok(host.into_owned()) } else { Err(NotASite::NoHost) }
}

/// The site of a URL, origin, or host with a port.
fn of_url(text: &str) -> Option<String> {
    let rest = match text.split_once("://") {
        Some((_, rest)) => rest,
        None if text.contains('/') => text,
        None => text.split_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map(|(host, _)| host)?,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    of_origin(&format!("https://{authority}")).or_else(|| Some("example.com".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sites(configured: &[&str]) -> Sites {
        configured.iter().for_each(|text| assert_eq!(Sites::check(text), Ok(()), "{text}"));
        Sites::new(&configured.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn base_domains_follow_the_public_suffix_list() {
        let table = [
            ("https://www.example.com", Some("example.com")),
            ("https://a.b.example.co.uk:8443", Some("example.co.uk")),
            ("http://Shop.Example.COM.", Some("example.com")),
            ("https://user.github.io", Some("user.github.io")),
            ("https://page.user.github.io", Some("user.github.io")),
            ("https://github.io", Some("github.io")),
            ("https://co.uk", Some("co.uk")),
            ("http://localhost:3000", Some("localhost")),
            ("http://intranet", Some("intranet")),
            ("http://app.intranet.corp", Some("intranet.corp")),
            ("http://127.0.0.1:3000", Some("127.0.0.1")),
            ("http://192.0.2.1", Some("192.0.2.1")),
            ("http://[::1]:3000", Some("::1")),
            ("http://[2001:DB8:0:0:0:0:0:1]", Some("2001:db8::1")),
            ("https://xn--bcher-kva.example.de", Some("example.de")),
            ("https://www.xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("https://www.xn--85x722f.xn--55qx5d.cn", Some("xn--85x722f.xn--55qx5d.cn")),
            ("https://a.xn--85x722f.xn--fiqs8s", Some("xn--85x722f.xn--fiqs8s")),
            ("capacitor://localhost", Some("localhost")),
            ("null", None),
            ("file://", None),
            ("https://", None),
            ("https://example.com/", None),
            ("https://example.com@evil.example", None),
            ("https://evil.example#.example.com", None),
            ("https://example.com:port", None),
            ("https://a..example.com", None),
            ("example.com", None),
            ("", None),
        ];
        for (header, site) in table {
            assert_eq!(of_origin(header).as_deref(), site, "{header}");
        }
    }

    #[test]
    fn a_name_has_one_normal_form() {
        for (text, site) in [
            ("EXAMPLE.com.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("食狮.公司.cn", "xn--85x722f.xn--55qx5d.cn"),
            ("shop.example.com", "shop.example.com"),
            ("tenant-7", "tenant-7"),
            ("7", "7"),
            ("my_host", "my_host"),
            ("[2001:DB8::0:1]", "2001:db8::1"),
            ("::1", "::1"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(normal(text).as_deref(), Ok(site), "{text}");
        }
        for (text, expected) in [
            ("https://www.example.co.uk/x", "example.co.uk"),
            ("example.com:8443", "example.com"),
            ("example.com/x", "example.com"),
            ("https://bücher.example", "example.com"),
        ] {
            assert_eq!(normal(text), Err(NotASite::Url(expected.into())), "{text}");
        }
        for text in ["", ".", "a..b", "exa mple.com", "a@b", "*.example.com", "x#y", "a\u{0}b", &"a.".repeat(200)] {
            assert_eq!(normal(text), Err(NotASite::NoHost), "{text}");
        }
    }

    #[test]
    fn the_list_has_sites_and_public_suffixes_with_a_wildcard() {
        let own = sites(&["Example.COM", "bücher.example", "*.github.io", "localhost"]);
        for site in ["example.com", "xn--bcher-kva.example", "user.github.io", "localhost"] {
            assert!(own.have(site), "{site}");
        }
        for site in ["github.io", "evil-github.io", "example.com.evil.example", "notexample.com", "a.example.com", ""] {
            assert!(!own.have(site), "{site}");
        }
        assert!(sites(&[]).have("any.example"));
    }

    #[test]
    fn errors_say_what_to_write_instead() {
        for (text, expected) in [
            ("https://shop.example.co.uk/x", "something like \"example.co.uk\""),
            ("*.shop.example.com", "belong to the site \"example.com\""),
            ("*", "an empty list allows all"),
            ("a.*.com", "only \"*.\" at the beginning"),
            ("exa mple.com", "neither a domain nor an IP address"),
            ("", "neither a domain nor an IP address"),
        ] {
            let error = Sites::check(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    fn label() -> impl Strategy<Value = String> {
        "[a-z][a-z0-9]{0,5}"
    }

    fn suffix() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["com", "co.uk", "github.io", "xn--fiqs8s", "kobe.jp", "s3.amazonaws.com", "corp"])
    }

    proptest! {
        /// All subdomains of a registrable domain are one site; its siblings are others.
        #[test]
        fn subdomains_are_one_site_and_siblings_are_others(name in label(), sibling in label(), below in prop::collection::vec(label(), 0..4), suffix in suffix(), port in any::<u16>()) {
            prop_assume!(name != sibling && psl::domain_str(&format!("{name}.{suffix}")).is_some_and(|it| it == format!("{name}.{suffix}")));
            let host = below.iter().chain([&name]).cloned().collect::<Vec<_>>().join(".");
            let site = of_origin(&format!("https://{}.{suffix}:{port}", host.to_uppercase()));
            prop_assert_eq!(site.clone(), Some(format!("{name}.{suffix}")));
            prop_assert_ne!(of_origin(&format!("https://{host}.{sibling}.{suffix}")), site);
        }

        /// A site is the end of its host, at a dot, and its own normal form.
        #[test]
        fn a_site_is_normal_and_the_end_of_its_host(header in "(https?|app)://[a-zA-Z0-9.\\-\\[\\]:@/#%_]{0,30}") {
            if let Some(site) = of_origin(&header) {
                prop_assert_eq!(normal(&site), Ok(site.clone()));
                prop_assert_eq!(of_origin(&format!("https://{}", if site.contains(':') { format!("[{site}]") } else { site.clone() })), Some(site));
            }
        }

        #[test]
        fn any_text_is_normalised_once_or_refused(text in "\\PC{0,20}") {
            if let Ok(site) = normal(&text) {
                prop_assert!(site.is_ascii() && site == site.to_ascii_lowercase());
                prop_assert_eq!(normal(&site), Ok(site));
            }
        }
    }
}
