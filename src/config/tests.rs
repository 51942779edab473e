use super::*;
use std::collections::HashMap;

fn tree(text: &str, environment: &[(&str, &str)]) -> Result<Tree, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("greyhound.toml");
    std::fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<HashMap<_, _>>();
    Layers { file: Some(file), environment }.load()
}

/// The settings and their problems, as `key: message`.
fn read(text: &str, environment: &[(&str, &str)]) -> (Settings, Vec<String>) {
    let mut problems = Vec::new();
    let settings: Settings = tree(text, environment).unwrap().read("", &mut problems);
    let mut impossible = Problems::default();
    settings.validate(&mut impossible);
    problems.extend(impossible.into_list());
    (settings, problems.into_iter().map(|p| format!("{}: {}", p.key, p.message)).collect())
}

fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    read(text, environment).1
}

#[test]
fn every_key_has_a_default() {
    let (settings, problems) = read("", &[]);
    assert_eq!(settings, Settings::default());
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn an_unknown_key_is_reported_with_the_nearest_key() {
    assert_eq!(problems("[node]\ndata_dri = \"x\"", &[]), ["node.data_dri: unknown key; did you mean `data_dir`?"]);
    assert_eq!(problems("[nodes]\nname = \"x\"", &[]), ["nodes: unknown key; did you mean `node`?"]);
    assert_eq!(problems("[node]\ncolour = 1", &[]), ["node.colour: unknown key; expected one of: name, data_dir"]);
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = r#"
        [node]
        name = "No Spaces"
        [log]
        durability = "perhaps"
        interval = 5
        segment_size = "64 bananas"
        [log.retention]
        age = ["7days"]
        [admin]
        listen = "nowhere"
        allow_loopback = "yes"
        [host]
        shutdown_deadline = "0s"
    "#;
    let problems = problems(text, &[]);
    let keys: Vec<_> = problems.iter().map(|p| p.split(':').next().unwrap()).collect();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    let expected = [
        "admin.allow_loopback",
        "admin.listen",
        "host.shutdown_deadline",
        "log.durability",
        "log.interval",
        "log.retention.age",
        "log.segment_size",
        "node.name",
    ];
    assert_eq!(sorted, expected, "{problems:#?}");
    let of = |key: &str| problems.iter().find(|p| p.starts_with(key)).unwrap();
    assert!(of("log.durability").contains("`fsync`"), "{problems:#?}");
    assert!(of("admin.listen").contains("127.0.0.1:3001"), "{problems:#?}");
}

#[test]
fn a_value_in_place_of_a_section_is_a_problem() {
    assert_eq!(problems("log = 5", &[]), ["log: is a whole number: expected a section with keys"]);
    assert_eq!(problems("plugins = 5", &[]).len(), 1);
}

#[test]
fn the_environment_overrides_the_file_and_is_converted_to_the_type_of_the_key() {
    let environment = [
        ("GREYHOUND__NODE__NAME", "7"),
        ("GREYHOUND__ADMIN__ALLOW_LOOPBACK", "false"),
        ("GREYHOUND__LOG__SEGMENT_SIZE", "1MiB"),
        ("GREYHOUND__LOG__RETENTION__AGE", "1h"),
        ("OTHER__NODE__NAME", "other"),
    ];
    let (settings, problems) = read("[node]\nname = \"web\"\ndata_dir = \"d\"", &environment);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!((settings.node.name.as_str(), settings.node.data_dir), ("7", PathBuf::from("d")));
    assert!(!settings.admin.allow_loopback);
    assert_eq!(settings.log.segment_size, ByteSize::mib(1));
    assert_eq!(settings.log.retention.age, Duration::from_secs(3600));
}

#[test]
fn an_invalid_variable_is_named() {
    let problems = problems("", &[("GREYHOUND__LOG__INTERVAL", "soon"), ("GREYHOUND__NODE__NMAE", "x")]);
    assert_eq!(problems.len(), 2);
    assert!(
        problems.iter().any(|p| p.starts_with("log.interval: ") && p.ends_with("(from GREYHOUND__LOG__INTERVAL)")),
        "{problems:#?}"
    );
    assert!(problems.iter().any(|p| p.starts_with("node.nmae: ") && p.contains("`name`")), "{problems:#?}");
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Shop {
    names: Vec<String>,
    sizes: Vec<u32>,
    secret: Option<String>,
    open: bool,
}

#[test]
fn a_plugin_reads_its_section() {
    let environment = [("GREYHOUND__PLUGINS__SHOP__SIZES", "[1, 2]"), ("GREYHOUND__PLUGINS__SHOP__SECRET", "12345")];
    let config = tree("[plugins.shop]\nenabled = false\nnames = [\"a\"]\nopen = true", &environment).unwrap();
    let expected = Shop { names: vec!["a".into()], sizes: vec![1, 2], secret: Some("12345".into()), open: true };
    assert_eq!(config.plugin::<Shop>("shop").unwrap(), expected);
    let config =
        tree("", &[("GREYHOUND__PLUGINS__SHOP__NAMES", "a, b"), ("GREYHOUND__PLUGINS__SHOP__OPEN", "true")]).unwrap();
    let expected = Shop { names: vec!["a".into(), "b".into()], open: true, ..Shop::default() };
    assert_eq!(config.plugin::<Shop>("shop").unwrap(), expected);
    let wrong = tree("[plugins.shop]\nsizes = [1, \"x\"]", &[]).unwrap().plugin::<Shop>("shop").unwrap_err();
    assert_eq!(wrong.problems[0].key, "plugins.shop.sizes[1]");
}

#[test]
fn a_secret_is_not_shown() {
    let wrong = "[admin]\ntoken = [\"hunter2\"]\n[plugins.shop]\nsecret = 1234567";
    assert!(!problems(wrong, &[]).concat().contains("hunter2"));
    let wrong = tree(wrong, &[]).unwrap().plugin::<Shop>("shop").unwrap_err().to_string();
    assert!(wrong.contains("plugins.shop.secret") && !wrong.contains("1234567"), "{wrong}");
    let no_toml = tree("[admin]\ntoken = hunter2", &[]).err().unwrap().to_string();
    assert!(no_toml.contains("line 2") && !no_toml.contains("hunter2"), "{no_toml}");
    let (settings, problems) = read("[admin]\ntoken = \"hunter2\"\ntoken_file = \"x\"", &[]);
    assert!(!format!("{settings:?}{problems:?}").contains("hunter2"));
}

#[test]
fn no_value_is_ever_shown() {
    let wrong = r#"
        node = "hunter2"
        [log]
        durability = "hunter2, expected `x`"
        interval = "5 hunter2"
        queue = "6 hunter2"
        [log.retention]
        bytes = ["hunter2"]
        [admin]
        listen = "redis://:hunter2@host"
        allow_loopback = "hunter2"
        token = 12345.5
    "#;
    let variables = [("GREYHOUND__HOST__LOG_FORMAT", "hunter2"), ("GREYHOUND__LOG__RETENTION__AGE", "hunter2")];
    let problems = problems(wrong, &variables);
    assert_eq!(problems.len(), 10, "{problems:#?}");
    assert!(!problems.concat().contains("hunter2") && !problems.concat().contains("12345"), "{problems:#?}");
    let of = |key: &str| problems.iter().find(|p| p.starts_with(key)).unwrap();
    assert_eq!(of("log.durability"), "log.durability: is not valid: expected one of `fsync`, `interval`, `memory`");
    assert_eq!(of("log.queue"), "log.queue: is not valid: expected a size such as \"64kB\" or \"256MiB\"");
    assert_eq!(of("admin.token"), "admin.token: is a number: expected a string");
    let text = "[plugins.shop]\nsizes = \"hunter2\"\nnames = {hunter = \"hunter2\"}";
    let wrong =
        tree(text, &[("GREYHOUND__PLUGINS__SHOP__OPEN", "hunter2")]).unwrap().plugin::<Shop>("shop").unwrap_err();
    assert!(wrong.problems.len() == 3 && !wrong.to_string().contains("hunter2"), "{wrong}");
}

#[test]
fn variables_with_single_underscores_are_reported_if_they_look_like_a_key() {
    let names = [
        "GREYHOUND_NODE_DATA_DIR",
        "GREYHOUND_LOG__RETENTION_AGE",
        "GREYHOUND_PORT",
        "GREYHOUND_ADMIN_SERVICE_HOST",
        "GREYHOUND_NODE",
    ];
    let tree = tree("", &names.map(|name| (name, "hunter2"))).unwrap();
    let told: Vec<_> =
        tree.misspelt(knows::<Settings>).into_iter().map(|p| format!("{}: {}", p.key, p.message)).collect();
    let of = |wrong, right| {
        format!("{wrong}: this variable is not read; did you mean {right}, with two underscores before each part?")
    };
    let expected = [
        ("GREYHOUND_LOG__RETENTION_AGE", "GREYHOUND__LOG__RETENTION__AGE"),
        ("GREYHOUND_NODE_DATA_DIR", "GREYHOUND__NODE__DATA_DIR"),
    ];
    assert_eq!(told, expected.map(|(wrong, right)| of(wrong, right)));
}

#[test]
fn the_token_may_be_in_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let admin = Admin { token_file: Some(file.path().to_owned()), ..Admin::default() };
    assert!(admin.bearer().unwrap_err().to_string().contains("empty"));
    std::fs::write(file.path(), "the token\n").unwrap();
    assert_eq!(admin.bearer().unwrap().unwrap().reveal(), "the token");
    assert_eq!(Admin::default().bearer().unwrap(), None);
}

#[test]
fn a_named_file_must_exist() {
    let error =
        Layers { file: Some("/nowhere/greyhound.toml".into()), ..Layers::default() }.load().err().unwrap().to_string();
    assert!(error.contains("/nowhere/greyhound.toml"), "{error}");
}

#[test]
fn a_host_name_becomes_a_valid_node_name() {
    assert_eq!(node_name("web 1.example"), "web-1.example");
    assert_eq!(node_name("-"), "node");
}
