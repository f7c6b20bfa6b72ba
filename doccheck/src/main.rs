//! Writes the pages of docs/reference.

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let folder = kis_doccheck::page::repository().join("docs/reference");
    for page in kis_doccheck::reference::pages()? {
        let path = folder.join(page.file);
        std::fs::write(&path, page.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
