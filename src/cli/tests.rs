use super::run::token_line;
use super::*;
use crate::config::{Settings, Tree};
use crate::host::Host;
use greyhound_activity::Activity;
use greyhound_messaging::Messaging;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;

const FILE: &str = include_str!("../../greyhound.toml");
/// Keys without a default, or whose default differs between machines: the file has an example.
const EXAMPLES: [&str; 26] = [
    "expiry_warning",
    "max_token_age",
    "client_ca",
    "certificate",
    "key",
    "secret_file",
    "secret",
    "public_key_file",
    "jwks_file",
    "jwks_url",
    "algorithms",
    "issuer",
    "audience",
    "partner",
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

fn tree(text: &str, environment: &[(&str, &str)]) -> Tree {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("greyhound.toml");
    std::fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Layers { file: Some(file), environment }.load().unwrap()
}

fn plugins() -> HostBuilder {
    Host::builder().plugin(Messaging::default()).plugin(Activity)
}

fn program(text: &str, port: &str) -> Program {
    Program::new(plugins(), tree(text, &[]), port)
}

/// The name of the key that a line documents.
fn documented(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("# ")?.split_once(" = ")?;
    name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_').then_some(name)
}

/// The file with every documented key set, except examples.
fn all_defaults() -> String {
    let set = |line: &'static str| match documented(line) {
        Some(name) if !EXAMPLES.contains(&name) => &line[2..],
        _ => line,
    };
    FILE.lines().map(set).collect::<Vec<_>>().join("\n")
}

/// The keys of the section `T`, as serde names them in the error for an unknown key.
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
    let program = program(&set, "");
    let (set, default) = (program.settings().unwrap(), Settings::default());
    assert_eq!(
        (&set.node, &set.log, &set.admin, &set.host),
        (&default.node, &default.log, &default.admin, &default.host)
    );
    assert_eq!(
        program.plugin::<greyhound_messaging::Config>("messaging").unwrap(),
        greyhound_messaging::Config::default()
    );
    assert_eq!(
        program.plugin::<greyhound_activity::Config>("activity").unwrap(),
        greyhound_activity::Config::default()
    );
    let host = program.host().unwrap();
    assert!(host.has("messaging") && host.has("activity"));
}

#[test]
fn the_file_documents_every_key() {
    use crate::config::{Admin, AdminTls, Host, Log, Node, Retention};
    let sections = [
        ("plugins.messaging", keys::<greyhound_messaging::Config>()),
        ("plugins.messaging.tls", keys::<greyhound_messaging::config::TlsConfig>()),
        ("plugins.messaging.auth", keys::<greyhound_messaging::config::AuthConfig>()),
        ("plugins.messaging.limits", keys::<greyhound_messaging::config::LimitsConfig>()),
        ("plugins.messaging.authorization", keys::<greyhound_messaging::config::AuthorizationConfig>()),
        ("plugins.messaging.redis", keys::<greyhound_messaging::config::RedisConfig>()),
        ("plugins.activity", keys::<greyhound_activity::Config>()),
        ("plugins.activity.hdfs", keys::<greyhound_activity::store::hdfs::Settings>()),
        ("node", keys::<Node>()),
        ("admin", keys::<Admin>()),
        ("admin.tls", keys::<AdminTls>()),
        ("log", keys::<Log>()),
        ("log.retention", keys::<Retention>()),
        ("host", keys::<Host>()),
    ];
    for (section, keys) in sections {
        let after =
            FILE.split_once(&format!("\n[{section}]\n")).unwrap_or_else(|| panic!("the file has no [{section}]")).1;
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
fn the_examples_in_the_file_are_valid() {
    // One of the keys that exclude each other.
    const OTHERS: [&str; 5] = ["secret", "public_key_file", "jwks_file", "jwks_url", "token"];
    let set = |line: &'static str| {
        documented(line).map_or(line, |name| if OTHERS.contains(&name) { line } else { &line[2..] })
    };
    let set = FILE.lines().map(set).collect::<Vec<_>>().join("\n");
    let in_hdfs = set.replace("\nstore = \"data/tables\"\n", "\nstore = \"hdfs://nameservice/tables\"\n");
    program(&in_hdfs, "").host().map(drop).unwrap();
}

#[test]
fn port_overrides_the_port() {
    let listen = |text: &str, port: &str| {
        program(text, port).plugin::<greyhound_messaging::Config>(MESSAGING).unwrap().listen.to_string()
    };
    assert_eq!(listen("", "3100"), "127.0.0.1:3100");
    assert_eq!(listen("[plugins.messaging]\nlisten = \"0.0.0.0:80\"", "3100"), "0.0.0.0:3100");
    assert_eq!(listen("", ""), "127.0.0.1:3000");
    let unix = "[plugins.messaging]\nlisten = \"unix:gateway.sock\"";
    assert_eq!(listen(unix, ""), "unix:gateway.sock");
    let problems = program(unix, "3100").host().err().unwrap().problems;
    assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["PORT"]);
}

#[test]
fn all_problems_are_reported_at_once() {
    let wrong = "[telepathy]\n[plugins.telepathy]\nrange = 1\n[plugins.activity]\nenabled = \"maybe\"\n[plugins.messaging]\nlisten = \"x\"";
    let error = program(wrong, "70000").host().err().unwrap();
    let mut keys: Vec<_> = error.problems.iter().map(|p| p.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["PORT", "plugins.activity.enabled", "plugins.messaging.listen", "plugins.telepathy", "telepathy"]
    );
}

#[test]
fn a_plugin_can_be_switched_off() {
    let host = program("[plugins.messaging]\nenabled = false", "").host().unwrap();
    assert!(!host.has("messaging") && host.has("activity"));
}

#[test]
fn only_a_program_that_runs_refuses_sections_and_topics_of_other_plugins() {
    let text = "[plugins.shop]\nopen = true\n[admin]\nopen_topics = [\"shop.order\"]\nallow_loopback = false";
    let program = program(text, "");
    assert!(!program.settings().unwrap().admin.allow_loopback);
    program.plugin::<greyhound_activity::Config>("activity").unwrap();
    let refused = program.host().err().unwrap().to_string();
    for told in [
        "plugins.shop: this program has no such plugin; expected one of: messaging, activity",
        "admin.open_topics: unknown topic shop.order",
    ] {
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn a_misspelt_section_of_a_plugin_is_refused_by_all_commands() {
    let file = "[plugins.actvity]\nstore = \"/tables\"\n[plugins.mesaging.auth]\nsecret = \"s\"";
    let environment = [("GREYHOUND__PLUGINS__ACTVITY__STORE", "/tables")];
    for (text, environment, told) in [
        (file, [].as_slice(), "\n  plugins.actvity: this program has no such plugin; did you mean `activity`?"),
        (file, &[], "\n  plugins.mesaging: this program has no such plugin; did you mean `messaging`?"),
        ("", &environment, "did you mean `activity`? (from GREYHOUND__PLUGINS__ACTVITY__STORE)"),
    ] {
        let program = || Program::new(plugins(), tree(text, environment), "");
        let refusals = [
            program().host().err(),
            program().settings().err(),
            program().plugin::<greyhound_activity::Config>(ACTIVITY).err(),
            program().plugin::<greyhound_messaging::Config>(MESSAGING).err(),
        ];
        for refused in refusals.map(|it| it.expect("a misspelt section is refused").to_string()) {
            assert_eq!(refused.matches(told).count(), 1, "{refused}");
        }
    }
}

#[test]
fn every_other_mistake_is_refused_by_all_commands() {
    for wrong in ["[admin]\nlisten = \"x\"", "[plugins.messaging]\nlistne = \"x\"", "[telepathy]"] {
        assert!(program(wrong, "").settings().is_err(), "{wrong}");
        assert!(program(wrong, "").plugin::<greyhound_activity::Config>("activity").is_err(), "{wrong}");
    }
    assert!(program("", "70000").settings().is_err());
}

#[test]
fn a_program_lists_the_commands_of_its_own_plugins_and_calls_itself_by_its_name() {
    let help = |plugins: &HostBuilder| command(plugins, "shop").render_long_help().to_string();
    let (all, few) = (help(&plugins()), help(&Host::builder().plugin(Activity)));
    let listed = |help: &str, command: &str| help.lines().any(|line| line.trim_start().starts_with(command));
    assert!(listed(&all, "emit ") && listed(&all, "shop emit ") && listed(&all, "PORT "), "{all}");
    assert!(!listed(&few, "emit ") && !listed(&few, "shop emit ") && !listed(&few, "PORT "), "{few}");
    assert!(listed(&few, "tables ") && listed(&few, "shop tail "), "{few}");
    let mut shop = command(&plugins(), "shop");
    let mut of = |path: &[&str]| {
        let command = path.iter().fold(&mut shop, |it, name| it.find_subcommand_mut(name).unwrap());
        command.render_long_help().to_string()
    };
    let project = of(&["new", "plugin"]);
    assert!(project.contains("  shop new plugin shop --path ~/src/greyhound && cd shop"), "{project}");
    assert!(of(&["completions"]).contains("<(shop completions bash)"));
    let why = missing_plugin(&Host::builder().plugin(Activity), "emit").unwrap();
    assert!(format!("{why:?}").contains("`emit` is a command of the plugin `messaging`"), "{why:?}");
    assert!(missing_plugin(&plugins(), "emit").is_none() && missing_plugin(&Host::builder(), "topics").is_none());
}

#[test]
fn the_printed_command_for_a_token_can_be_pasted() {
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
    // Some are also in the table of alerts.
    told.dedup();
    assert!(!there.is_empty());
    assert_eq!(told, there);
}

#[test]
fn the_command_line_parses() {
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
