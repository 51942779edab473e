//! Checks `[plugins.messaging]`.

use super::{Config, Demo};
use crate::auth::{RoomPattern, Sites, normal_origin};
use crate::proxies::network;
use crate::redis::is_over_tls;
use crate::revocation;
use greyhound_sdk::config::{ByteSize, Problems};
use greyhound_sdk::paths;
use std::path::Path;
use std::time::Duration;

impl Config {
    /// Reports every mistake.
    pub(crate) fn check(&self, problems: &mut Problems) {
        self.check_namespaces(problems);
        self.check_listeners(problems);
        self.check_sizes(problems);
        self.check_rooms(problems);
        self.auth.check(problems);
        self.limits.check(problems);
        if self.demo == Demo::On && !self.auth.can_sign() {
            problems.report(
                "demo",
                "\"on\" needs a secret, because the page signs tokens, but only public keys are configured",
            );
        }
        self.authorization.check(self.auth.timeout, problems);
        self.redis.check(problems);
    }

    fn check_namespaces(&self, problems: &mut Problems) {
        if !self.namespaces.iter().any(|n| n == "/") {
            problems.report("namespaces", "\"/\" is missing: every client connects to it");
        }
        for bad in self.namespaces.iter().filter(|n| !n.starts_with('/') || n.contains([',', '?'])) {
            problems.report(
                "namespaces",
                format!("`{bad}` is not a namespace: expected a name that begins with / and contains no , or ?"),
            );
        }
        if let Some((_, twice)) =
            self.namespaces.iter().enumerate().find(|(at, name)| self.namespaces[..*at].contains(name))
        {
            problems.report("namespaces", format!("`{twice}` is listed twice: list each namespace once"));
        }
    }

    fn check_listeners(&self, problems: &mut Problems) {
        for (prefix, listener) in self.all_listeners() {
            listener.check(&prefix, !self.trusted_proxies.is_empty(), problems);
        }
        if !is_path(self.socket_io_path()) {
            problems.report("path", "expected a path such as \"/socket.io\": letters, digits and -._~ between slashes");
        }
        for bad in self.trusted_proxies.iter().filter(|text| network(text).is_none()) {
            problems.report(
                "trusted_proxies",
                format!("`{bad}` is not a network: expected something like \"10.0.0.0/8\" or \"10.0.0.1\""),
            );
        }
        for (origin, why) in
            self.allowed_origins.iter().filter_map(|origin| Some((origin, normal_origin(origin).err()?)))
        {
            problems.report("allowed_origins", format!("`{origin}` is not an origin: {why}"));
        }
    }

    fn check_sizes(&self, problems: &mut Problems) {
        let durations = [
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("write_timeout", self.write_timeout),
            ("auth.timeout", self.auth.timeout),
        ];
        for (key, _) in durations.into_iter().filter(|(_, value)| *value < Duration::from_millis(100)) {
            problems.report(key, "is too short: expected at least \"100ms\"");
        }
        if !(ByteSize::kb(1)..=ByteSize::gb(1)).contains(&self.max_payload) {
            problems.report("max_payload", "expected \"1kB\" to \"1GB\"");
        }
        if !(1..=65_536).contains(&self.buffer) {
            problems.report("buffer", "expected 1 to 65536 packets");
        }
    }

    fn check_rooms(&self, problems: &mut Problems) {
        for (site, why) in self.sites.iter().filter_map(|site| Some((site, Sites::check(site).err()?))) {
            problems.report("sites", format!("`{site}` is not a base domain: {why}"));
        }
        for (pattern, why) in
            self.joinable_rooms.iter().filter_map(|text| Some((text, RoomPattern::parse(text).err()?)))
        {
            problems.report("joinable_rooms", format!("`{pattern}` is not a name or pattern of rooms: {why}"));
        }
        if !(1..=65_536).contains(&self.max_rooms) {
            problems.report("max_rooms", "expected 1 to 65536 rooms");
        }
    }

    /// Checks the configured files.
    pub(crate) fn look(&self, data_dir: &Path, problems: &mut Problems) {
        self.auth.look(data_dir, problems);
        for (prefix, listener) in self.all_listeners() {
            listener.look(&prefix, problems);
        }
        if let Err(why) = revocation::look(data_dir) {
            problems.report("auth", why);
        }
        self.authorization.look(problems);
        if let Some(Err(e)) = self.client_bundle.as_deref().map(paths::check_file) {
            problems.report("client_bundle", format!("{e}: name a socket.io.min.js, or leave it out"));
        }
        let over_tls = [
            ("redis.url", self.redis.url.as_ref().is_some_and(|url| is_over_tls(url))),
            ("auth", self.auth.is_over_tls()),
        ];
        let authorities = std::env::var_os("SSL_CERT_FILE").map(|path| paths::check_file(Path::new(&path)));
        if let (Some((key, _)), Some(Err(e))) = (over_tls.into_iter().find(|(_, is_used)| *is_used), authorities) {
            problems
                .report(key, format!("SSL_CERT_FILE: {e}: name a file with the certificates to trust, or unset it"));
        }
    }
}

/// Whether it can be a path of socket.io: one or more names, each after a slash.
fn is_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    path.strip_prefix('/').is_some_and(|names| names.split('/').all(|name| !name.is_empty() && name.bytes().all(plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_base_domain() {
        let mut problems = Problems::default();
        Config {
            sites: ["example.com", "tenant-7", "https://shop.example.co.uk/x"].map(str::to_owned).to_vec(),
            ..Config::default()
        }
        .check(&mut problems);
        let messages: Vec<_> = problems.into_list().into_iter().map(|problem| problem.message).collect();
        assert_eq!(
            messages,
            [
                "`https://shop.example.co.uk/x` is not a base domain: it is not only a host: expected something like \"example.co.uk\""
            ]
        );
    }
}
