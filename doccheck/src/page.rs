//! Pages of Markdown, and what of them can be checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Its file.
    pub path: PathBuf,
    /// What headings are linked by, in their order.
    pub anchors: Vec<String>,
    /// Where links and images lead.
    pub links: Vec<Link>,
    /// Fenced blocks.
    pub blocks: Vec<Block>,
}

/// A link.
#[derive(Debug)]
pub struct Link {
    /// Line it stands in, from 1.
    pub line: usize,
    /// As written.
    pub target: String,
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// Line of its fence, from 1.
    pub line: usize,
    /// What stands after the fence, word by word: the language, and what is to be checked.
    pub info: Vec<String>,
    /// What it holds.
    pub text: String,
}

impl Block {
    /// Whether it is marked so.
    pub fn is(&self, language: &str, mark: &str) -> bool {
        self.info.first().is_some_and(|first| first == language) && self.info.iter().skip(1).any(|word| word == mark)
    }

    /// The value of a mark `NAME=VALUE`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.info.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(path: &Path) -> Result<Page> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Page::parse(path, &text))
    }

    /// Of a text.
    pub fn parse(path: &Path, text: &str) -> Page {
        let mut page = Page { path: path.to_owned(), anchors: Vec::new(), links: Vec::new(), blocks: Vec::new() };
        let mut seen = BTreeMap::new();
        let mut heading: Option<String> = None;
        let mut fenced = false;
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().unwrap_or_default());
                    let times: &mut usize = seen.entry(slug.clone()).or_default();
                    page.anchors.push(if *times == 0 { slug } else { format!("{slug}-{times}") });
                    *times += 1;
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(Link { line: line(range.start), target: dest_url.to_string() });
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    fenced = true;
                    let info = info.split_whitespace().map(str::to_owned).collect();
                    page.blocks.push(Block { line: line(range.start), info, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => fenced = false,
                Event::Text(piece) | Event::Code(piece) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&piece);
                    } else if let (true, Some(block)) = (fenced, page.blocks.last_mut()) {
                        block.text.push_str(&piece);
                    }
                }
                _ => {}
            }
        }
        page
    }
}

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// All pages of the book, by name.
///
/// # Errors
/// If one cannot be read.
pub fn book() -> Result<Vec<Page>> {
    let docs = repository().join("docs");
    let mut paths = Vec::new();
    for folder in [docs.clone(), docs.join("reference"), docs.join("results")] {
        // Results are there once somebody has shown some.
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            paths.push(entry?.path());
        }
    }
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

/// What a heading is linked by, on GitHub and in the book alike.
fn slug(heading: &str) -> String {
    let letters = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    letters.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_checked_is_found_with_its_line() {
        let text =
            "# A `b` c!\n\nSee [x](y.md#z) and\n![p](q.svg).\n\n# A b c\n\n```toml scenario file=a.toml\nk = 1\n```\n";
        let page = Page::parse(Path::new("p.md"), text);
        assert_eq!(page.anchors, ["a-b-c", "a-b-c-1"]);
        let links: Vec<_> = page.links.iter().map(|link| (link.line, link.target.as_str())).collect();
        assert_eq!(links, [(3, "y.md#z"), (4, "q.svg")]);
        let block = &page.blocks[0];
        assert_eq!((block.line, block.text.as_str()), (8, "k = 1\n"));
        assert!(block.is("toml", "scenario") && !block.is("toml", "profile"));
        assert_eq!(block.value("file"), Some("a.toml"));
    }
}
