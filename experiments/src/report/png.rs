//! Figures as pixels.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

/// Pixels a unit of the drawing: sharp on the screens of today.
const SCALE: f32 = 2.0;

/// DejaVu Sans (Bitstream Vera's licence; its changes are in the public domain) comes with the program and stands for every
/// family, so that a drawing gives the same pixels on every machine.
fn fonts() -> Arc<fontdb::Database> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(dejavu::sans::regular().to_vec());
        fonts.load_font_data(dejavu::sans::bold().to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        fonts.set_serif_family("DejaVu Sans");
        fonts.set_monospace_family("DejaVu Sans");
        Arc::new(fonts)
    };
    Arc::clone(FONTS.get_or_init(load))
}

/// The drawing on white.
pub(super) fn render(svg: &str) -> Result<Vec<u8>> {
    let options = Options { fontdb: fonts(), font_family: "DejaVu Sans".to_owned(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("no SVG")?;
    let size = tree.size().to_int_size().scale_by(SCALE).context("a drawing without a size")?;
    let mut pixels = Pixmap::new(size.width(), size.height()).context("a drawing without a size")?;
    pixels.fill(Color::WHITE);
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().context("no PNG")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(text: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100\" height=\"40\">\
             <text x=\"5\" y=\"30\" font-family=\"sans-serif\" font-size=\"20\">{text}</text></svg>"
        )
    }

    fn dark(png: &[u8]) -> usize {
        let pixels = Pixmap::decode_png(png).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (200, 80));
        pixels.pixels().iter().filter(|pixel| pixel.red() < 128).count()
    }

    #[test]
    fn words_are_drawn_whatever_fonts_the_machine_has() {
        assert_eq!(dark(&render(&drawing("")).unwrap()), 0);
        let (short, long) = (dark(&render(&drawing("I")).unwrap()), dark(&render(&drawing("MM ± µ")).unwrap()));
        assert!(short > 20 && long > 4 * short, "{short}, {long}");
        let other = drawing("I").replace("sans-serif", "A Font That Nobody Has");
        assert_eq!(dark(&render(&other).unwrap()), short);
    }

    #[test]
    fn what_is_no_drawing_is_an_error() {
        assert!(render("<svg").is_err());
        assert!(render("").is_err());
    }
}
