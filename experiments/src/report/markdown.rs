//! The report as Markdown.

use std::fmt::Write as _;

use super::html::escape;
use super::table::{entry, is_long, is_text};
use super::{Part, Report, TRACES, clock, verdict};
use crate::experiment::Table;

/// The title of the last part, the only one with times and machines in it.
pub const PROVENANCE: &str = "## Provenance";

pub(super) fn report(report: &Report) -> String {
    let mut out = String::from("# Experiments\n\nEvery number here is of runs; nothing is drawn or typed by hand. ");
    out.push_str("Intervals are 95 %.\n");
    verdicts(&mut out, report);
    out.push_str("\n## Contents\n\n");
    for part in &report.parts {
        let _ = writeln!(out, "- [{}](#{})", part.experiment.title, anchor(part.experiment.title));
    }
    for part in &report.parts {
        section(&mut out, part);
    }
    provenance(&mut out, report);
    out
}

/// How the anchors of titles are made where Markdown is shown.
fn anchor(title: &str) -> String {
    let fits = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    title.to_lowercase().chars().filter(fits).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn verdicts(out: &mut String, report: &Report) {
    let all = report.parts.iter().flat_map(|part| {
        part.section.iter().flat_map(|section| section.verdicts.iter()).map(move |verdict| (part, verdict))
    });
    let rows: Vec<String> = all
        .map(|(part, v)| {
            let title = part.experiment.title;
            let cells = [cell(&v.claim), verdict(v.outcome).to_owned(), cell(&v.because)];
            format!("| {} | [{}](#{}) |", cells.join(" | "), cell(title), anchor(title))
        })
        .collect();
    if !rows.is_empty() {
        out.push_str("\n## Verdicts\n\n| claim | verdict | because | experiment |\n| --- | --- | --- | --- |\n");
        out.push_str(&rows.join("\n"));
        out.push('\n');
    }
}

fn section(out: &mut String, part: &Part) {
    let _ = writeln!(
        out,
        "\n## {}\n\n*{}*\n\n```\n{}\n```",
        part.experiment.title,
        part.experiment.question,
        part.command()
    );
    for line in notes(part) {
        let _ = writeln!(out, "\n> {line}");
    }
    let section = match &part.section {
        Ok(section) => section,
        Err(why) => {
            let _ = writeln!(out, "\n> **Nothing can be shown:** {why}");
            return;
        }
    };
    for text in &section.text {
        let _ = writeln!(out, "\n{text}");
    }
    for figure in &section.figures {
        let file = format!("figures/{}-{}", part.experiment.name, figure.name);
        let png = if cfg!(feature = "png") { format!(" ([PNG]({file}.png))") } else { String::new() };
        let _ = writeln!(out, "\n![{}]({file}.svg)\n\n*{}*{png}", cell(&figure.caption), figure.caption);
    }
    for table in &section.tables {
        let file = format!("tables/{}-{}.csv", part.experiment.name, table.name);
        let grid = grid(table);
        let _ = match is_long(table) {
            // Its summary is HTML, where Markdown's marks would be shown as they are.
            true => writeln!(
                out,
                "\n<details>\n<summary>{} ({} rows)</summary>\n\n[CSV]({file})\n\n{grid}\n\n</details>",
                escape(&table.caption),
                table.rows.len()
            ),
            false => writeln!(out, "\n*{}* ([CSV]({file}))\n\n{grid}", table.caption),
        };
    }
    for v in &section.verdicts {
        let _ =
            writeln!(out, "\n**{}**: {}: {}", capital(verdict(v.outcome)), v.claim.trim_end_matches('.'), v.because);
    }
    let _ = writeln!(out, "\n{}.", capital(&part.basis()));
}

/// What a reader must know before anything else: the results are not of this code, or not all there.
pub(super) fn notes(part: &Part) -> Vec<String> {
    let mut notes = Vec::new();
    if part.is_stale() {
        notes.push(
            "**These results are of other code than the program that made this report**; run it again.".to_owned(),
        );
    }
    for (why, cells) in part.reasons() {
        let shown: Vec<String> = cells.iter().take(10).map(|cell| format!("`{cell}`")).collect();
        let more = if cells.len() > 10 { format!(" and {} more", cells.len() - 10) } else { String::new() };
        let traces = if why.starts_with("replays ") { format!(" {TRACES}.") } else { String::new() };
        notes.push(format!("**Not run** ({why}): {}{more}.{traces}", shown.join(", ")));
    }
    notes
}

fn grid(table: &Table) -> String {
    let mut out = String::from("|");
    for column in &table.columns {
        let _ = write!(out, " {} |", cell(column));
    }
    out.push_str("\n|");
    for column in 0..table.columns.len() {
        out.push_str(if is_text(table, column) { " --- |" } else { " ---: |" });
    }
    for row in &table.rows {
        out.push_str("\n|");
        for value in row {
            let _ = write!(out, " {} |", cell(&entry(value)));
        }
    }
    out
}

fn provenance(out: &mut String, report: &Report) {
    let _ = write!(
        out,
        "\n{PROVENANCE}\n\n| experiment | size | cells | core time | code |\n| --- | --- | ---: | ---: | --- |\n"
    );
    for part in &report.parts {
        let p = &part.provenance;
        let (cells, time) = (p.cells.len(), clock(p.seconds()));
        let code = &p.code[..p.code.len().min(12)];
        let _ = writeln!(out, "| {} | {} | {cells} | {time} | `{code}` |", part.experiment.name, p.size.name());
    }
    out.push_str(
        "\n| started | took | command | jobs | revision | built with | machine |\n| --- | ---: | --- | ---: | --- | --- | --- |\n",
    );
    for session in super::sessions(report) {
        let m = &session.machine;
        let machine = format!("{}, {} cores, {} GiB, {}", m.processor, m.cores, m.memory_gib, m.system);
        let (started, command, jobs) = (&session.started, cell(&session.command), session.jobs);
        let took = clock(session.seconds);
        let (revision, build) = (&session.revision, &session.build);
        let _ = writeln!(
            out,
            "| {started} | {took} | `{command}` | {jobs} | `{revision}` | {build} | {} |",
            cell(&machine)
        );
    }
    out.push_str(
        "\nConfigurations, seeds and the time of each cell: `provenance.json` beside each experiment's results.\n",
    );
}

/// What can stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}
