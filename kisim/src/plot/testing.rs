//! What the tests of all plots ask of an SVG document.

/// The texts of `svg`, after checking that it is well-formed, that no number in it is unusable, and that everything
/// lies on the page.
pub(super) fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let root = document.root_element();
    assert_eq!(root.tag_name().name(), "svg");
    let page: Vec<f64> = root.attribute("viewBox").unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
    for node in document.descendants() {
        for attribute in node.attributes() {
            assert!(!attribute.value().contains("NaN") && !attribute.value().contains("inf"), "{attribute:?}");
        }
        for pair in node.attribute("points").unwrap_or_default().split_whitespace() {
            let (x, y) = pair.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((0.0..=page[2]).contains(&x) && (0.0..=page[3]).contains(&y), "{pair} is off the page");
        }
    }
    document
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .map(|node| node.text().unwrap_or_default().trim().to_owned())
        .collect()
}

/// Checks that all of `expected` are among the texts of `svg`.
pub(super) fn assert_texts(svg: &str, expected: &[&str]) {
    let found = texts(svg);
    for text in expected {
        assert!(found.iter().any(|f| f == text), "{text:?} is not among {found:?}");
    }
}

/// Written to the folder in `KISIM_PLOTS`, if there is one, to be looked at.
pub(super) fn keep(name: &str, svg: &str) {
    if let Some(folder) = std::env::var_os("KISIM_PLOTS") {
        std::fs::write(std::path::Path::new(&folder).join(name), svg).unwrap();
    }
}
