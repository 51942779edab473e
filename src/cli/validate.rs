//! `greyhound validate`

use super::failure::Failure;
use super::program::Program;
use crate::config::ConfigError;
use crate::host::is_coloured;
use clap::Args;
use greyhound_sdk::config::Problem;
use greyhound_sdk::{Check, Verdict};
use std::fmt::Write as _;
use std::io::{Write, stderr, stdout};

#[derive(Debug, Args)]
pub(super) struct Validate {
    /// Also try what the program depends on, such as writing to the store of the tables. Leaves behind only the directories
    /// above the tables, if they were missing
    #[arg(long)]
    connect: bool,
}

impl Validate {
    pub(super) async fn run(self, program: Program) -> Result<(), Failure> {
        let source_name = program.source_name().to_owned();
        let host = program.host()?;
        let (problems, warnings) = host.inspect().await;
        for Problem { key, message } in warnings {
            writeln!(stderr(), "warning: {key}: {message}")?;
        }
        if !problems.is_empty() {
            return Err(ConfigError { source_name, problems }.into());
        }
        let mut out = stdout();
        writeln!(out, "{source_name}: valid")?;
        if !self.connect {
            return Ok(());
        }
        let checks = host.check().await;
        let styles = if is_coloured(&out) { COLOURS } else { PLAIN };
        write!(out, "{}", report(&checks, styles))?;
        let failures =
            checks.iter().flat_map(|(_, checks)| checks).filter(|it| matches!(it.verdict, Verdict::Fails(_))).count();
        match failures {
            0 => Ok(()),
            1 => Err(Failure::failed("1 check failed")),
            more => Err(Failure::failed(format!("{more} checks failed"))),
        }
    }
}

/// The terminal sequences before the word for each verdict, and after it.
struct Styles {
    works: &'static str,
    fails: &'static str,
    not_tried: &'static str,
    end: &'static str,
}

const PLAIN: Styles = Styles { works: "", fails: "", not_tried: "", end: "" };
const COLOURS: Styles = Styles { works: "\x1b[32m", fails: "\x1b[1;31m", not_tried: "\x1b[2m", end: "\x1b[0m" };

/// One line per check.
fn report(checks: &[(&'static str, Vec<Check>)], styles: Styles) -> String {
    let all = || checks.iter().flat_map(|(plugin, checks)| checks.iter().map(move |check| (plugin, check)));
    let (of_plugin, of_name) = all().fold((0, 0), |(plugin_width, name_width), (plugin, check)| {
        (plugin.len().max(plugin_width), check.name.len().max(name_width))
    });
    let mut text = String::new();
    for (plugin, check) in all() {
        let (style, word, why) = match &check.verdict {
            Verdict::Works(why) => (styles.works, "ok", why.as_str()),
            Verdict::Fails(why) => (styles.fails, "FAILS", why.as_str()),
            Verdict::NotTried => (styles.not_tried, "not tried", ""),
        };
        let line = format!("  {plugin:of_plugin$}  {:of_name$}  {style}{word:9}{}  {why}", check.name, styles.end);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_a_line() {
        let check = |name, verdict| Check { name, verdict };
        let checks = vec![
            ("gate", vec![check("open", Verdict::Works("wide".into()))]),
            ("activity", vec![check("reachable", Verdict::Fails("no".into())), check("writable", Verdict::NotTried)]),
        ];
        let lines = [
            "  gate      open       ok         wide",
            "  activity  reachable  FAILS      no",
            "  activity  writable   not tried",
            "",
        ];
        assert_eq!(report(&checks, PLAIN), lines.join("\n"));
        assert!(report(&checks, COLOURS).contains("\x1b[1;31mFAILS    \x1b[0m  no"));
    }
}
