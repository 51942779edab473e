//! `greyhound new`

use super::failure::Failure;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::fs;
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};

const HELP: &str = "\
The project is a program of its own: Greyhound with this plugin. It has a topic, a route, a metric, a configuration key and tests.
docs/plugins.md in Greyhound's source explains it.

Example:
  greyhound new plugin shop --path ~/src/greyhound && cd shop && cargo test --release";

/// What to create.
#[derive(Debug, Subcommand)]
pub(super) enum New {
    /// Create a project with a plugin, in a new directory
    Plugin(NewPlugin),
}

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct NewPlugin {
    /// The name of the plugin, its crate and its directory: lower-case letters, digits and `_`
    #[arg(value_parser = name)]
    name: String,
    /// Depend on the checkout of Greyhound in this directory [default: on Greyhound's repository, if the build names it]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

/// The files of examples/plugin, by their paths in the project.
const FILES: [(&str, &str); 9] = [
    (".gitignore", include_str!("../../examples/plugin/.gitignore")),
    (
        "Cargo.toml",
        concat!(
            include_str!("../../examples/plugin/Cargo.toml"),
            "\n# Not part of a workspace in a directory above.\n[workspace]\n"
        ),
    ),
    // So that the project begins with the versions that Greyhound was tested with.
    ("Cargo.lock", include_str!("../../Cargo.lock")),
    ("README.md", include_str!("../../examples/plugin/README.md")),
    ("greyhound.toml", include_str!("../../examples/plugin/greyhound.toml")),
    ("schemas/hello.greeting.avsc", include_str!("../../examples/plugin/schemas/hello.greeting.avsc")),
    ("src/lib.rs", include_str!("../../examples/plugin/src/lib.rs")),
    ("src/main.rs", include_str!("../../examples/plugin/src/main.rs")),
    ("tests/greetings.rs", include_str!("../../examples/plugin/tests/greetings.rs")),
];

/// Names that have another meaning for Greyhound (its topics, routes and plugins), for Rust and Cargo, or for the project
/// (its dependencies).
const TAKEN: [&str; 22] = [
    "activity",
    "alloc",
    "async_trait",
    "axum",
    "build",
    "consumers",
    "core",
    "deps",
    "examples",
    "greyhound",
    "greyhound_sdk",
    "incremental",
    "messaging",
    "metrics",
    "proc_macro",
    "serde",
    "serde_json",
    "std",
    "test",
    "tokio",
    "topics",
    "tower",
];

/// Rust's keywords, which no crate can be called.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Where the project finds Greyhound.
enum Source {
    Checkout(PathBuf),
    Repository(&'static str),
}

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::Plugin(NewPlugin { name, path }) = self;
        let source = Source::find(path)?;
        let directory = Path::new(&name);
        check_free(directory)?;
        for (path, text) in FILES {
            let path = directory.join(path.replace("hello", &name));
            write(&path, &filled(text, &name, &source)).map_err(|e| unusable(&path, &e))?;
        }
        let run = "cargo test --release && cargo run --release";
        Ok(writeln!(stdout(), "{name}/ has the plugin `{name}`. Test and start it:\n  cd {name} && {run}")?)
    }
}

impl Source {
    fn find(path: Option<PathBuf>) -> Result<Self, Failure> {
        match (path, env!("CARGO_PKG_REPOSITORY")) {
            (Some(path), _) => Self::checkout(&path),
            (None, "") => Err(Failure::usage(
                "this build of greyhound does not know its repository: name a checkout of Greyhound's source with --path DIR",
            )),
            (None, url) => Ok(Self::Repository(url)),
        }
    }

    fn checkout(path: &Path) -> Result<Self, Failure> {
        let why = |e: io::Error| Failure::usage(format!("--path {}: {e}", path.display()));
        let root = path.canonicalize().map_err(why)?;
        match root.join("plugins/sdk/Cargo.toml").is_file() {
            true => Ok(Self::Checkout(root)),
            false => Err(Failure::usage(format!(
                "--path {}: it is not a checkout of Greyhound: it has no plugins/sdk/Cargo.toml",
                path.display()
            ))),
        }
    }

    /// The keys of a dependency in Cargo.toml on the crate in this directory of the source.
    fn dependency(&self, directory: &str) -> String {
        match self {
            Self::Checkout(root) => {
                let path = root.join(directory).components().collect::<PathBuf>();
                format!("path = {}", Value::from(path.to_string_lossy()))
            }
            Self::Repository(url) => {
                format!("git = {}, version = \"{}\"", Value::from(*url), env!("CARGO_PKG_VERSION"))
            }
        }
    }
}

/// A file of the template, for the plugin `name`.
fn filled(text: &str, name: &str, source: &Source) -> String {
    // The dependencies come last, because their path or URL may have the word as well.
    text.replace("Hello", &type_name(name))
        .replace("hello", name)
        .replace("path = \"../../plugins/sdk\"", &source.dependency("plugins/sdk"))
        .replace("path = \"../..\"", &source.dependency(""))
}

/// `web_shop` as `WebShop`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('_').filter(|word| !word.is_empty()).map(capital).collect()
}

fn check_free(directory: &Path) -> Result<(), Failure> {
    let is_free = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => true,
        Err(e) => return Err(unusable(directory, &e)),
    };
    match is_free {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "the directory {0} is not empty: move it away, or choose another name",
            std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()).display()
        ))),
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text)
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}

fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_name = text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits);
    match text {
        _ if !is_name => {
            Err("expected lower-case letters, digits and `_`, beginning with a letter, such as `web_shop`".to_owned())
        }
        _ if KEYWORDS.contains(&text) => {
            Err("it is a keyword of Rust, which no crate can be called; choose another name".to_owned())
        }
        _ if TAKEN.contains(&text) => {
            Err("the name is taken by Greyhound, Rust or a crate that the plugin uses; choose another name".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_names_are_refused_with_what_is_expected() {
        for wrong in ["", "Shop", "web-shop", "2nd", "_shop", "a b", "../shop", "pr\u{e9}s"] {
            assert!(name(wrong).unwrap_err().contains("such as `web_shop`"), "{wrong}");
        }
        assert!(name("loop").unwrap_err().contains("keyword"));
        for taken in ["greyhound", "topics", "messaging", "test"] {
            assert!(name(taken).unwrap_err().contains("taken"), "{taken}");
        }
        assert_eq!(name("web_shop2").unwrap(), "web_shop2");
    }

    #[test]
    fn the_names_of_the_projects_dependencies_are_taken() {
        let (_, manifest) = FILES.iter().find(|(path, _)| *path == "Cargo.toml").unwrap();
        let dependencies = manifest.split_once("[dependencies]").unwrap().1;
        for line in dependencies.lines().filter_map(|line| line.split_once(" = ")) {
            let name = line.0.replace('-', "_");
            assert!(TAKEN.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn the_project_is_no_part_of_another_workspace() {
        let (_, manifest) = FILES.iter().find(|(path, _)| *path == "Cargo.toml").unwrap();
        assert_eq!(manifest.lines().filter(|line| *line == "[workspace]").count(), 1);
    }

    #[test]
    fn the_code_in_the_documentation_is_that_of_the_examples() {
        let checkout = Source::Checkout("/path/to/greyhound".into());
        let text = include_str!("../../docs/plugins.md");
        let project = FILES.iter().map(|(_, text)| filled(text, "hello", &checkout));
        let all: String = project.chain([include_str!("../../examples/echo.rs").to_owned()]).collect();
        let blocks: Vec<_> = text.split("```").skip(1).step_by(2).filter_map(|it| it.split_once('\n')).collect();
        let code = blocks.iter().filter(|(language, text)| *language != "sh" && !text.contains("<URL>"));
        assert!(code.clone().count() > 5);
        code.for_each(|(_, text)| assert!(all.contains(text), "docs/plugins.md has code that no example has:\n{text}"));
    }

    #[test]
    fn the_project_has_the_plugins_name_and_greyhounds_place() {
        let filled = |text: &str, source: &Source| filled(text, "web_shop", source);
        for (path, text) in FILES.iter().filter(|(path, _)| *path != "Cargo.lock") {
            let text = filled(text, &Source::Repository("https://example.com/greyhound"));
            assert!(!text.to_lowercase().contains("hello") && !text.contains("../.."), "{path}: {text}");
        }
        assert_eq!(filled("use hello::Hello;", &Source::Repository("")), "use web_shop::WebShop;");
        let (sdk, root) = ("{ path = \"../../plugins/sdk\", features = [] }", "{ path = \"../..\" }");
        let checkout = Source::Checkout("/src/a \"b\"".into());
        assert_eq!(filled(sdk, &checkout), r#"{ path = "/src/a \"b\"/plugins/sdk", features = [] }"#);
        assert_eq!(filled(root, &checkout), r#"{ path = "/src/a \"b\"" }"#);
        let of_same_name = Source::Checkout("/src/hello/Hello".into());
        assert_eq!(filled(root, &of_same_name), r#"{ path = "/src/hello/Hello" }"#);
        let repository = Source::Repository("https://example.com/greyhound");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            filled(root, &repository),
            format!("{{ git = \"https://example.com/greyhound\", version = \"{version}\" }}")
        );
    }
}
