//! Every link leads somewhere: to a file that is there, to a heading that is there, and from the table of contents to every page.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use kis_doccheck::page::{Page, book, repository};

/// Where the repository's files are shown, for links from the book to what is not in it.
const HOME: &str = "https://github.com/GuilinDev/KISim/blob/main/";

/// Pages that are not of the book.
const OTHERS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "deploy/README.md",
    "traces/README.md",
    "benches/peers/README.md",
    "experiments/README.md",
];

#[test]
fn every_link_leads_somewhere() {
    let root = repository();
    let mut pages = book().unwrap();
    pages.extend(
        OTHERS.iter().map(|name| root.join(name)).filter(|path| path.exists()).map(|path| Page::read(&path).unwrap()),
    );
    let mut problems = Vec::new();
    let mut followed = 0;
    for page in &pages {
        for link in &page.links {
            let Some(problem) = problem(&root, page, &link.target) else {
                followed += 1;
                continue;
            };
            problems.push(format!("{}:{}: {}: {problem}", page.path.display(), link.line, link.target));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(followed > 150, "{followed} links only: are they all seen?");
}

/// What is wrong with a link.
fn problem(root: &Path, page: &Page, target: &str) -> Option<String> {
    let in_book = page.path.starts_with(root.join("docs"));
    let (place, anchor) = target.split_once('#').map_or((target, None), |(place, anchor)| (place, Some(anchor)));
    let path = if let Some(path) = place.strip_prefix(HOME) {
        root.join(path)
    } else if place.starts_with("https://github.com/GuilinDev/KISim") {
        return (place != "https://github.com/GuilinDev/KISim").then(|| format!("expected {HOME}PATH"));
    } else if place.starts_with("https://") || place.starts_with("http://") {
        return None;
    } else if place.is_empty() {
        page.path.clone()
    } else {
        normal(&page.path.parent().unwrap().join(place))
    };
    if in_book && !place.starts_with("https://") && !path.starts_with(root.join("docs")) {
        return Some(format!("leads out of the book, expected {HOME}PATH"));
    }
    if !path.exists() {
        return Some("there is no such file".to_owned());
    }
    let anchor = anchor?;
    let there = Page::read(&path).unwrap().anchors;
    (!there.iter().any(|other| other == anchor))
        .then(|| format!("no such heading, expected one of {}", there.join(", ")))
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

#[test]
fn what_is_wrong_with_a_link_is_said() {
    let root = repository();
    let page = Page::read(&root.join("docs/cli.md")).unwrap();
    for (target, word) in [
        ("nowhere.md", "no such file"),
        ("train.md#nowhere", "no such heading"),
        ("../README.md", "out of the book"),
        ("https://github.com/GuilinDev/KISim/blob/main/nowhere.md", "no such file"),
    ] {
        let problem = problem(&root, &page, target);
        assert!(problem.as_ref().is_some_and(|said| said.contains(word)), "{target}: {problem:?}");
    }
    assert_eq!(problem(&root, &page, "train.md#evaluate"), None);
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let docs = repository().join("docs");
    let contents: BTreeSet<PathBuf> =
        Page::read(&docs.join("SUMMARY.md")).unwrap().links.iter().map(|link| docs.join(&link.target)).collect();
    for page in book().unwrap() {
        assert!(page.path.ends_with("SUMMARY.md") || contents.contains(&page.path), "{} is not", page.path.display());
    }
}
