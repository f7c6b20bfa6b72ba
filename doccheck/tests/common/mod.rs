//! Where the pages are.

use std::path::{Path, PathBuf};

use kis_doccheck::page::Page;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All pages of the book, by name.
pub fn book() -> Vec<Page> {
    let docs = root().join("docs");
    let mut paths = Vec::new();
    for folder in [docs.clone(), docs.join("reference"), docs.join("results")] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        paths.extend(
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    paths.sort();
    assert!(paths.len() > 15, "{paths:?}");
    paths.iter().map(|path| Page::read(path).unwrap()).collect()
}
