use super::program::{MESSAGING, Program, build};
use super::run::token_line;
use super::*;
use clap::CommandFactory;
use greyhound::config::{ConfigError, Layers, Settings, Tree};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::path::Path;

const FILE: &str = include_str!("../../greyhound.toml");
/// Keys without a default, or with one that differs from machine to machine: the file shows an example.
const EXAMPLES: [&str; 14] = [
    "secret_file",
    "secret",
    "client_bundle",
    "url",
    "subscription",
    "retention",
    "name",
    "token_file",
    "token",
    "principal",
    "keytab",
    "user",
    "replication",
    "group",
];

fn tree(text: &str) -> Tree {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("greyhound.toml");
    std::fs::write(&file, text).unwrap();
    Layers { file: Some(file), environment: HashMap::new() }.load().unwrap()
}

fn program(text: &str, port: Option<&str>) -> Result<Program, ConfigError> {
    build(tree(text), port.map(str::to_owned))
}

/// The name of the key that a line documents.
fn documented(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("# ")?.split_once(" = ")?;
    name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_').then_some(name)
}

/// The file with every documented key set, but those that are examples.
fn all_defaults() -> String {
    let set = |line: &'static str| match documented(line) {
        Some(name) if !EXAMPLES.contains(&name) => &line[2..],
        _ => line,
    };
    FILE.lines().map(set).collect::<Vec<_>>().join("\n")
}

/// The keys that the section `T` has, as serde names them where one is unknown.
fn keys<T: DeserializeOwned>() -> Vec<String> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Read<T>(#[allow(dead_code, reason = "only its error counts")] T);
    let error = serde_json::from_str::<Read<T>>(r#"{"?": 0}"#).err().expect("unknown keys are refused").to_string();
    error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_file_documents_the_defaults() {
    let set = all_defaults();
    let program = program(&set, None).unwrap();
    let (set, default) = (program.host.settings(), Settings::default());
    assert_eq!(
        (&set.node, &set.log, &set.admin, &set.host),
        (&default.node, &default.log, &default.admin, &default.host)
    );
    assert_eq!(
        program.config.plugin::<greyhound_messaging::Config>("messaging").unwrap(),
        greyhound_messaging::Config::default()
    );
    assert_eq!(
        program.config.plugin::<greyhound_activity::Config>("activity").unwrap(),
        greyhound_activity::Config::default()
    );
    assert!(program.host.has("messaging") && program.host.has("activity"));
}

#[test]
fn the_file_documents_every_key() {
    use greyhound::config::{Admin, Host, Log, Node, Retention};
    let sections = [
        ("plugins.messaging", keys::<greyhound_messaging::Config>()),
        ("plugins.messaging.auth", keys::<greyhound_messaging::config::AuthConfig>()),
        ("plugins.messaging.redis", keys::<greyhound_messaging::config::RedisConfig>()),
        ("plugins.activity", keys::<greyhound_activity::Config>()),
        ("plugins.activity.hdfs", keys::<greyhound_activity::store::hdfs::Settings>()),
        ("node", keys::<Node>()),
        ("admin", keys::<Admin>()),
        ("log", keys::<Log>()),
        ("log.retention", keys::<Retention>()),
        ("host", keys::<Host>()),
    ];
    for (section, keys) in sections {
        let after =
            FILE.split_once(&format!("\n[{section}]\n")).unwrap_or_else(|| panic!("[{section}] is not in the file")).1;
        let lines = after.lines().take_while(|line| !line.starts_with('['));
        let mut there: Vec<_> =
            lines.filter_map(documented).filter(|key| *key != "enabled").map(str::to_owned).collect();
        let mut expected: Vec<_> =
            keys.into_iter().filter(|key| !FILE.contains(&format!("\n[{section}.{key}]\n"))).collect();
        there.sort();
        expected.sort();
        assert!(!expected.is_empty());
        assert_eq!(there, expected, "[{section}]");
    }
}

#[test]
fn the_examples_of_the_file_are_possible_values() {
    let set = |line: &'static str| {
        documented(line).map_or(line, |name| if ["secret", "token"].contains(&name) { line } else { &line[2..] })
    };
    let set = FILE.lines().map(set).collect::<Vec<_>>().join("\n");
    let in_hdfs = set.replace("\nstore = \"data/tables\"\n", "\nstore = \"hdfs://nameservice/tables\"\n");
    program(&in_hdfs, None).map(|_| ()).unwrap();
}

#[test]
fn port_overrides_the_port() {
    let listen = |text: &str, port: &str| {
        let config = program(text, Some(port)).unwrap().config;
        config.plugin::<greyhound_messaging::Config>(MESSAGING).unwrap().listen.to_string()
    };
    assert_eq!(listen("", "3100"), "127.0.0.1:3100");
    assert_eq!(listen("[plugins.messaging]\nlisten = \"0.0.0.0:80\"", "3100"), "0.0.0.0:3100");
    assert_eq!(listen("", ""), "127.0.0.1:3000");
}

#[test]
fn what_is_wrong_is_reported_at_once() {
    let wrong = "[telepathy]\n[plugins.telepathy]\nrange = 1\n[plugins.activity]\nenabled = \"maybe\"\n[plugins.messaging]\nlisten = \"x\"";
    let error = program(wrong, Some("70000")).err().unwrap();
    let mut keys: Vec<_> = error.problems.iter().map(|p| p.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["PORT", "plugins.activity.enabled", "plugins.messaging.listen", "plugins.telepathy", "telepathy"]
    );
}

#[test]
fn a_plugin_can_be_switched_off() {
    let program = program("[plugins.messaging]\nenabled = false", None).unwrap();
    assert!(!program.host.has("messaging") && program.host.has("activity"));
}

#[test]
fn the_line_that_mints_a_token_works_as_it_stands() {
    assert_eq!(token_line("greyhound", None, []), "greyhound token --user 1");
    let line = token_line(
        "target/release/greyhound",
        Some(Path::new("my config.toml")),
        [("GREYHOUND__NODE__DATA_DIR", "/srv/b".to_owned())],
    );
    assert_eq!(
        line,
        "GREYHOUND__NODE__DATA_DIR=/srv/b target/release/greyhound token --user 1 --config 'my config.toml'"
    );
}

#[test]
fn the_documentation_names_every_metric_and_no_other() {
    fn metrics(directory: &Path, found: &mut Vec<String>) {
        for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                metrics(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let constants = text
                    .lines()
                    .filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(r#": &str = "greyhound_"#));
                found.extend(constants.map(|(_, name)| format!("greyhound_{}", name.trim_end_matches("\";"))));
            }
        }
    }
    let (mut there, mut told) = (Vec::new(), Vec::new());
    ["src", "plugins"].iter().for_each(|it| metrics(&Path::new(env!("CARGO_MANIFEST_DIR")).join(it), &mut there));
    let lines = include_str!("../../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `greyhound_")?.split_once('`'));
    told.extend(lines.map(|(name, _)| format!("greyhound_{name}")));
    there.sort();
    told.sort();
    assert!(!there.is_empty());
    assert_eq!(told, there);
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
    let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command);
    assert!(matches!(parse("greyhound"), Ok(None)));
    assert!(matches!(parse("greyhound emit message -5 \"x\""), Ok(Some(Command::Emit(_)))));
    let error = parse("greyhound emit message hello").unwrap_err().to_string();
    assert!(error.contains("not JSON") && error.contains("'\"hello\"'"), "{error}");
    assert!(parse("greyhound tail messaging.push --from yesterday").is_err());
    assert!(parse("greyhound token --user 1 --claim role").is_err());
    assert!(
        parse("greyhound token --user 1 --site https://example.com").unwrap_err().to_string().contains("base domain")
    );
}
