//! The report as one file: style and drawings are in it, and it asks for nothing from anywhere.

use std::fmt::Write as _;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::markdown::notes;
use super::table::{entry, is_long, is_text};
use super::{Part, Report, clock, verdict};
use crate::experiment::{Entry, Figure, Outcome, Table};

const STYLE: &str = include_str!("report.css");

pub(super) fn report(report: &Report) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Experiments</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Experiments</h1>\n\
         <p>Every number here is of runs; nothing is drawn or typed by hand. Intervals are 95 %.</p>\n"
    );
    verdicts(&mut out, report);
    out.push_str("<nav>\n<h2>Contents</h2>\n<ol>\n");
    for part in &report.parts {
        let (name, title) = (part.experiment.name, escape(part.experiment.title));
        let _ = writeln!(out, "<li><a href=\"#{name}\">{title}</a></li>");
    }
    out.push_str("<li><a href=\"#provenance\">Provenance</a></li>\n</ol>\n</nav>\n");
    for part in &report.parts {
        section(&mut out, part);
    }
    provenance(&mut out, report);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn verdicts(out: &mut String, report: &Report) {
    let mut rows = String::new();
    for part in &report.parts {
        for v in part.section.iter().flat_map(|section| &section.verdicts) {
            let (name, title) = (part.experiment.name, escape(part.experiment.title));
            let _ = writeln!(
                rows,
                "<tr><td>{}</td><td class=\"verdict {}\">{}</td><td>{}</td><td><a href=\"#{name}\">{title}</a></td></tr>",
                inline(&v.claim),
                class(v.outcome),
                verdict(v.outcome),
                inline(&v.because)
            );
        }
    }
    if !rows.is_empty() {
        out.push_str(
            "<h2 id=\"verdicts\">Verdicts</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>Claim</th><th>Verdict</th>",
        );
        let _ =
            writeln!(out, "<th>Because</th><th>Experiment</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>");
    }
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Holds => "holds",
        Outcome::InPart => "in-part",
        Outcome::DoesNotHold => "fails",
        Outcome::NotTestable => "untested",
    }
}

fn section(out: &mut String, part: &Part) {
    let experiment = part.experiment;
    let _ = writeln!(
        out,
        "<section id=\"{}\">\n<h2>{}</h2>\n<p class=\"question\">{}</p>\n<pre><code>{}</code></pre>",
        experiment.name,
        escape(experiment.title),
        inline(experiment.question),
        escape(&part.command())
    );
    for note in notes(part) {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", inline(&note));
    }
    match &part.section {
        Err(why) => {
            let _ = writeln!(out, "<p class=\"note\"><strong>Nothing can be shown:</strong> {}</p>", escape(why));
        }
        Ok(section) => {
            for text in &section.text {
                out.push_str(&block(text));
            }
            for figure in &section.figures {
                drawing(out, experiment.name, figure);
            }
            for table in &section.tables {
                grid(out, experiment.name, table);
            }
            for v in &section.verdicts {
                let (class, word) = (class(v.outcome), verdict(v.outcome));
                let (claim, because) = (inline(v.claim.trim_end_matches('.')), inline(&v.because));
                let _ = writeln!(out, "<p><span class=\"verdict {class}\">{word}</span> {claim}: {because}</p>");
            }
        }
    }
    let _ = writeln!(out, "<p class=\"basis\">{}</p>\n</section>", escape(&part.basis()));
}

fn drawing(out: &mut String, experiment: &str, figure: &Figure) {
    // Whatever stands before the drawing has no place within HTML.
    let svg = figure.svg.find("<svg").map_or("", |at| &figure.svg[at..]);
    let prefix = format!("{experiment}-{}-", figure.name);
    let _ = writeln!(
        out,
        "<figure id=\"{experiment}-{}\">\n<div class=\"drawing\">{}</div>\n<figcaption>{}</figcaption>\n</figure>",
        figure.name,
        own_ids(svg, &prefix),
        inline(&figure.caption)
    );
}

/// The drawing with names of its parts that no other drawing of the page has.
fn own_ids(svg: &str, prefix: &str) -> String {
    svg.replace(" id=\"", &format!(" id=\"{prefix}"))
        .replace("url(#", &format!("url(#{prefix}"))
        .replace("href=\"#", &format!("href=\"#{prefix}"))
}

fn grid(out: &mut String, experiment: &str, table: &Table) {
    let (name, caption) = (&table.name, inline(&table.caption));
    let long = is_long(table);
    if long {
        let _ = writeln!(out, "<details><summary>{caption} ({} rows)</summary>", table.rows.len());
    }
    let _ = write!(
        out,
        "<div class=\"wide\"><table id=\"{experiment}-table-{name}\">\n<caption>{caption}</caption>\n<thead><tr>"
    );
    let classes: Vec<&str> =
        (0..table.columns.len()).map(|column| if is_text(table, column) { "" } else { " class=\"number\"" }).collect();
    for (column, class) in table.columns.iter().zip(&classes) {
        let _ = write!(out, "<th{class}>{}</th>", escape(column));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (value, class) in row.iter().zip(&classes) {
            let text = match value {
                Entry::Text(text) => inline(text),
                other => escape(&entry(other)),
            };
            let _ = write!(out, "<td{class}>{text}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    if long {
        out.push_str("</details>\n");
    }
}

fn provenance(out: &mut String, report: &Report) {
    out.push_str(
        "<section id=\"provenance\">\n<h2>Provenance</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>experiment</th>",
    );
    out.push_str(
        "<th>size</th><th class=\"number\">cells</th><th class=\"number\">core time</th><th>code</th></tr></thead>\n",
    );
    for part in &report.parts {
        let p = &part.provenance;
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td><code>{}</code></td></tr>",
            part.experiment.name,
            p.size.name(),
            p.cells.len(),
            clock(p.seconds()),
            &p.code[..p.code.len().min(12)]
        );
    }
    out.push_str(
        "</table></div>\n<div class=\"wide\"><table>\n<thead><tr><th>started</th><th class=\"number\">took</th>",
    );
    out.push_str("<th>command</th>");
    out.push_str("<th class=\"number\">jobs</th><th>revision</th><th>built with</th><th>machine</th></tr></thead>\n");
    for session in super::sessions(report) {
        let m = &session.machine;
        let machine = format!("{}, {} cores, {} GiB, {}", m.processor, m.cores, m.memory_gib, m.system);
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"number\">{}</td><td><code>{}</code></td><td class=\"number\">{}</td>\
             <td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            session.started,
            clock(session.seconds),
            escape(&session.command),
            session.jobs,
            escape(&session.revision),
            escape(&session.build),
            escape(&machine)
        );
    }
    out.push_str("</table></div>\n");
    for part in &report.parts {
        let (title, config) = (escape(part.experiment.title), escape(&part.provenance.config));
        let _ = writeln!(
            out,
            "<details><summary>Configuration: {title}</summary>\n<pre><code>{config}</code></pre>\n</details>"
        );
    }
    out.push_str("</section>\n");
}

/// Markdown of paragraphs. HTML in it is shown, not taken.
fn block(text: &str) -> String {
    let mut out = String::new();
    pulldown_cmark::html::push_html(&mut out, events(text));
    out
}

/// Markdown of a line.
fn inline(text: &str) -> String {
    let mut out = String::new();
    let plain = |event: &Event<'_>| !matches!(event, Event::Start(Tag::Paragraph) | Event::End(TagEnd::Paragraph));
    pulldown_cmark::html::push_html(&mut out, events(text).filter(plain));
    out.trim_end().to_owned()
}

fn events(text: &str) -> impl Iterator<Item = Event<'_>> {
    Parser::new_ext(text, Options::ENABLE_TABLES).map(|event| match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        other => other,
    })
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_shown_and_html_is_not_taken() {
        assert_eq!(block("a *b* `c`"), "<p>a <em>b</em> <code>c</code></p>\n");
        assert_eq!(inline("a < b & **c**"), "a &lt; b &amp; <strong>c</strong>");
        assert_eq!(inline("<script>x</script>"), "&lt;script&gt;x&lt;/script&gt;");
        assert_eq!(escape("<\"&>"), "&lt;&quot;&amp;&gt;");
    }

    #[test]
    fn drawings_do_not_take_each_others_parts() {
        let svg = "<svg><clipPath id=\"a\"/><g clip-path=\"url(#a)\"/><use href=\"#a\"/></svg>";
        let own = own_ids(svg, "x-");
        assert_eq!(own, "<svg><clipPath id=\"x-a\"/><g clip-path=\"url(#x-a)\"/><use href=\"#x-a\"/></svg>");
    }
}
